"""What was learned as tensors of a stock timm model, where timm has a place for it.

Tensors trained in place stay there, and adapters are merged into their layers. Prompts of the first block that travel
are register tokens; what is added to the patches of the first block, or to all images, is added to positions.
Letters: N tokens, P prompts, D width.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from vpt.attach import original_name
from vpt.errors import OptionError
from vpt.methods import Tuned
from vpt.prompts import AddedPrompts, FramePrompts, Tokens
from vpt.sites import Site

Tensors = dict[str, Tensor]
ELSEWHERE = "export it by vpt.export.to_onnx or to_program"
REGISTERS = {
    "vision_transformer": "reg_tokens",
    "vision_transformer_hybrid": "reg_tokens",
    "eva": "num_reg_tokens",
}
"""By the family of a site, timm's name of the argument that says how many register tokens a model has."""


@torch.no_grad()
def stock(model: Tuned) -> tuple[Tensors, dict[str, Any]]:
    """The `state_dict()` of a timm model that answers as `model`, and the arguments that it needs besides.

    `model`, in eval, is used up. Raises `OptionError`, with the reason, for what timm has no place for.
    """
    for name in model.head_names:
        if not isinstance(head := model.backbone.get_submodule(name), nn.Linear):
            raise refused(model, f"its {name} is a {type(head).__name__}, timm's a linear layer")
    if model.learned.pool != "backbone":
        raise refused(model, f"it pools {model.learned.pool!r}, which timm's models do not")
    tensors = _plain_tensors(model)
    try:
        return tensors, {} if model.prompts is None else _place(model.prompts, model.site, tensors)
    except _NoPlace as reason:
        raise refused(model, str(reason)) from None


def refused(model: Any, reason: str) -> OptionError:
    """The error for a model that cannot be a plain timm model."""
    return OptionError(
        f"{model.method!r} on this {type(model.backbone).__name__} is no timm model: {reason}; {ELSEWHERE}"
    )


class _NoPlace(Exception):  # noqa: N818
    """Why timm has no place for prompts; it does not leave this file."""


def _plain_tensors(model: Tuned) -> Tensors:
    """The backbone's own tensors by its own names, adapters merged into those of their layers."""
    adapters: dict[str, Any] = dict(model.learned.adapters)
    for name, adapter in adapters.items():
        try:
            adapter.merge()
        except Exception as error:  # a kind of peft's that cannot be merged
            raise refused(model, f"peft does not merge the adapter of {name}: {error}") from error
    named = {original_name(name, adapters): t for name, t in model.backbone.state_dict().items()}
    return {name: tensor for name, tensor in named.items() if name is not None}


@singledispatch
def _place(prompts: nn.Module, site: Site, tensors: Tensors) -> dict[str, Any]:
    """Put what `prompts` bring into `tensors`, and answer with the arguments that this needs."""
    raise _NoPlace(f"it has no place for {type(prompts).__name__}")


@_place.register
def _(prompts: Tokens, site: Site, tensors: Tensors) -> dict[str, Any]:
    if not prompts.layers:
        return {}
    backbone: Any = site.backbone
    argument = REGISTERS.get(site.family)
    if prompts.layers != (0,):
        raise _NoPlace("its register tokens enter the first block alone, and these prompts others")
    if argument is None:
        raise _NoPlace("prompts would be register tokens, which this class has not")
    if not isinstance(backbone.norm_pre, nn.Identity):
        raise _NoPlace("register tokens pass the norm before its first block, and prompts do not")
    if site.reads == "all":
        raise _NoPlace("its pooling reads register tokens, and not prompts")
    new = prompts(0, 1).to(next(backbone.parameters()).dtype)
    own = tensors.get("reg_token", new[:, :0])
    tensors["reg_token"] = torch.cat([own, new], dim=1)
    if backbone.pos_embed is not None and not backbone.no_embed_class:  # positions of prefix tokens too
        before, patches = tensors["pos_embed"].split([site.prefix, site.patches], dim=1)
        tensors["pos_embed"] = torch.cat([before, torch.zeros_like(new), patches], dim=1)
    return {argument: own.shape[1] + new.shape[1]}


@_place.register
def _(prompts: AddedPrompts, site: Site, tensors: Tensors) -> dict[str, Any]:
    if prompts.layers != (0,):
        raise _NoPlace("its positions are added before the first block alone, and these prompts elsewhere")
    _add_to_positions(prompts(0), site, tensors)
    return {}


@_place.register
def _(prompts: FramePrompts, site: Site, tensors: Tensors) -> dict[str, Any]:
    embed: Any = site.patch_embed
    if type(embed) is not PatchEmbed or not isinstance(embed.norm, nn.Identity):
        raise _NoPlace("a frame can be a part of its positions only behind a plain patch embedding")
    frame = prompts()[None].to(embed.proj.weight.dtype)
    _add_to_positions((embed(frame) - embed(torch.zeros_like(frame))).flatten(1, -2), site, tensors)
    return {}


def _add_to_positions(added: Tensor, site: Site, tensors: Tensors) -> None:
    """Add `[1, patches or 1, D]` to the positions of the patches."""
    backbone: Any = site.backbone
    if tensors.get("pos_embed") is None:
        raise _NoPlace("it has no positions to add them to")
    if not isinstance(getattr(backbone, "norm_pre", nn.Identity()), nn.Identity):
        raise _NoPlace("there is a norm between its positions and its first block")
    prefix = tensors["pos_embed"].shape[1] - site.patches
    before, patches = tensors["pos_embed"].split([prefix, site.patches], dim=1)
    tensors["pos_embed"] = torch.cat([before, patches + added.to(patches.dtype)], dim=1)
