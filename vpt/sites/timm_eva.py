"""timm's `Eva`: EVA-02, DINOv3, Perception Encoder, RoPE ViTs; every token after the prefix is rotated."""

from __future__ import annotations

from typing import Any

from timm.models.eva import Eva
from torch import Tensor

from vpt.sites.site import Positions, Reads, Site, Told, keeps

MODULES = ("eva",)
"""timm modules whose every model this file covers."""


def site(model: Any) -> Site | None:
    """The site of an `Eva`, else None."""
    if not keeps(model, Eva, "forward_features", "forward_head", "pool", "_pos_embed"):
        return None
    positions: Positions = "absolute" if model.rope is None else "rotary"
    return Site(model, "eva", model.num_prefix_tokens, model.global_pool, reads(model), enter, positions)


def reads(model: Any) -> Reads:
    """What the pooling of an `Eva` reads; its attention pooling sees the prefix too."""
    if model.attn_pool is not None or not model.global_pool:
        return "all"
    return "first" if model.global_pool == "token" else "patches"


def enter(model: Any, images: Tensor) -> tuple[Tensor, Told]:
    """Tokens `[B, N, D]` before the first block; each block is told its rotation."""
    tokens, rope = model._pos_embed(model.patch_embed(images))
    mixed = getattr(model, "rope_mixed", False) and rope is not None  # a rotation of its own for each block
    return model.norm_pre(tokens), [{"rope": rope[i] if mixed else rope} for i in range(len(model.blocks))]
