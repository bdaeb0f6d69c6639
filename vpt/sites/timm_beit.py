"""timm's `Beit`: BEiT, BEiT v2, data2vec; attention adds a bias per pair of positions."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.beit import Beit
from torch import Tensor

from vpt.sites.site import Reads, Site, Told, keeps

MODULES = ("beit",)
"""timm modules whose every model this file covers."""


def site(model: Any) -> Site | None:
    """The site of a `Beit`, else None."""
    if not keeps(model, Beit, "forward_features", "forward_head"):
        return None
    reads: Reads = "patches" if model.global_pool == "avg" else "first" if model.global_pool else "all"
    return Site(model, "beit", model.num_prefix_tokens, model.global_pool, reads, enter, "relative")


def enter(model: Any, images: Tensor) -> tuple[Tensor, Told]:
    """Tokens `[B, N, D]` before the first block; blocks are told the bias that they share, where there is one."""
    patches = model.patch_embed(images)
    tokens = torch.cat((model.cls_token.expand(patches.shape[0], -1, -1), patches), dim=1)
    tokens = tokens if model.pos_embed is None else tokens + model.pos_embed
    bias = None if model.rel_pos_bias is None else model.rel_pos_bias()
    return model.pos_drop(tokens), [{"shared_rel_pos_bias": bias} for _ in model.blocks]
