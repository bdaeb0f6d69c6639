"""A fingerprint of the frozen base: architecture, every frozen tensor, preprocessing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpt.sites.clip_architecture import clip_architecture
from vpt.sites.clip_text import is_open_clip
from vpt.sites.find import find


def fingerprint(backbone: nn.Module, frozen: Mapping[str, Tensor], preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved task is bound to, part by part, and one digest of all parts.

    frozen: the tensors that were not trained, by their names in the backbone's `state_dict()`.
    Answers `{"digest", "architecture", "tensors", "preprocessing"}`; digests are SHA-256 in hex.
    """
    parts = {
        "architecture": architecture(backbone),
        "tensors": digest_tensors(frozen),
        "preprocessing": dict(preprocessing),
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return {"digest": hashlib.sha256(canonical.encode()).hexdigest(), **parts}


def architecture(backbone: nn.Module) -> dict[str, Any]:
    """What the tensors alone do not tell of a backbone, in names that do not change with timm's versions."""
    if is_open_clip(backbone):
        return clip_architecture(backbone)
    site = find(backbone)
    attention = next((m for m in site.blocks[0].modules() if hasattr(m, "num_heads")), None)
    return {
        "class": type(backbone).__name__,
        "family": site.family,
        "depth": site.depth,
        "width": site.width,
        "heads": int(getattr(attention, "num_heads", 0)),
        "prefix": site.prefix,
        "pooling": site.pooling,
        "positions": site.positions,
        "image_size": list(site.image_size),
        "patch_size": list(site.patch_size),
        "block": type(site.blocks[0]).__name__,
    }


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
