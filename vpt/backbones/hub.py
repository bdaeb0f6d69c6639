"""Pretrained weights that timm publishes: from this machine's cache, else from the network, else one error at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from vpt.backbones import network
from vpt.errors import WeightsUnavailable


def create_pretrained(name: str, **arguments: Any) -> nn.Module:
    """`timm.create_model(name, pretrained=True, ...)`, which never waits on a network that is not there.

    Raises `WeightsUnavailable`, naming the file to supply, where the weights are neither cached nor reachable.
    """
    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        raise WeightsUnavailable(
            f"timm publishes no weights for {name!r}; give a file by `checkpoint`, or pretrained=false"
        )
    cached = cached_file(cfg)
    if cached is not None:
        # custom_load is for the publisher's format (.npz), which a cached hub file is not in
        overlay = {"file": str(cached), "custom_load": cached.suffix == ".npz" and cfg.custom_load}
        model: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
        return model
    _reach(name, cfg)
    try:
        downloaded: nn.Module = timm.create_model(name, pretrained=True, **arguments)
    except OSError as error:  # huggingface_hub's and urllib's errors are all OSErrors
        raise _unavailable(name, cfg, str(error)) from error
    return downloaded


def cached_file(cfg: Any) -> Path | None:
    """Where an earlier download of these weights lies on this machine, or None."""
    if cfg.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = cfg.hf_hub_id.partition("@")
        for file in _file_names(cfg):
            found = try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
    if cfg.url:
        stored = Path(torch.hub.get_dir()) / "checkpoints" / Path(cfg.url).name
        return stored if stored.is_file() else None
    return None


def _file_names(cfg: Any) -> tuple[str, ...]:
    """Names the weights may have on the hub, the safe format first."""
    named: str | None = cfg.hf_hub_filename
    if named is None:
        return ("model.safetensors", "pytorch_model.bin")
    return (str(Path(named).with_suffix(".safetensors")), named)


def _reach(name: str, cfg: Any) -> None:
    """Ask the publisher's host once; raises `WeightsUnavailable` where it does not answer."""
    if (fault := network.out_of_reach(network.hub() if cfg.hf_hub_id else cfg.url)) is not None:
        raise _unavailable(name, cfg, fault)


def _unavailable(name: str, cfg: Any, reason: str) -> WeightsUnavailable:
    where = f"https://huggingface.co/{cfg.hf_hub_id}/blob/main/{_file_names(cfg)[0]}" if cfg.hf_hub_id else cfg.url
    return WeightsUnavailable(
        f"the pretrained weights of {name!r} are not on this machine and cannot be fetched ({reason}). "
        f"Fetch {where} on a machine that can and supply the file: --checkpoint {_file_names(cfg)[0]} "
        "(load_backbone(..., checkpoint=...)); 'embedded' needs no download"
    )
