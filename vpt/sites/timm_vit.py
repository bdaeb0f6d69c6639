"""timm's `VisionTransformer`: plain, DeiT with distillation token, hybrids, registers, any of its poolings."""

from __future__ import annotations

from typing import Any

from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from vpt.sites.site import Reads, Site, Told, keeps

MODULES = ("vision_transformer", "deit", "vision_transformer_hybrid")
"""timm modules whose every model this file covers."""


def site(model: Any) -> Site | None:
    """The site of a `VisionTransformer` (or `VisionTransformerDistilled`), else None."""
    if keeps(model, VisionTransformerDistilled, "forward_features", "forward_head", "_pos_embed"):
        return Site(model, "deit", model.num_prefix_tokens, "token", "prefix", enter, heads=("head", "head_dist"))
    if keeps(model, VisionTransformer, "forward_features", "forward_head", "pool", "_pos_embed"):
        hybrid = hasattr(model.patch_embed, "backbone")
        family = "vision_transformer_hybrid" if hybrid else "vision_transformer"
        return Site(model, family, model.num_prefix_tokens, model.global_pool, reads(model), enter)
    return None


def reads(model: Any) -> Reads:
    """What the pooling of a plain ViT reads."""
    if model.attn_pool is None and model.global_pool == "token":
        return "first"
    return "all" if model.pool_include_prefix or not model.global_pool else "patches"


def enter(model: Any, images: Tensor) -> tuple[Tensor, Told]:
    """Tokens `[B, N, D]` before the first block; blocks are told nothing."""
    tokens = model.patch_drop(model._pos_embed(model.patch_embed(images)))
    return model.norm_pre(tokens), [{} for _ in model.blocks]
