"""A backbone's forward pass in steps, so that a part of it can be left out where nothing reads it."""

from __future__ import annotations

from typing import Any

from timm.models import checkpoint
from torch import Tensor, nn

from vpt.attach.fused import Fused
from vpt.sites.site import Site, Told


def whole(site: Site) -> bool:
    """Whether the steps here are all that the backbone's own `forward` does: it is stock, and nobody hooks it."""
    backbone = site.backbone
    hooked = backbone._forward_hooks or backbone._forward_pre_hooks or "forward" in backbone.__dict__
    return type(backbone).forward.__module__.startswith(("timm.", "open_clip.")) and not hooked


def forward(site: Site, images: Tensor) -> Tensor:
    """Logits `[B, C]` of images `[B, 3, H, W]`, with the prompts that are attached to `site`."""
    tokens, told = site.enter(site.backbone, images)
    return site.leave(through(site, tokens, told, 0, site.depth))


def bare(site: Site, images: Tensor) -> Tensor:
    """What the backbone answers for images `[B, 3, H, W]` without what is attached to its blocks.

    Attributes that were set on their parts are not passed by (see `Attachment.own_attributes`).
    """
    tokens, told = site.enter(site.backbone, images)
    for block, kwargs in zip(site.blocks, told, strict=True):
        tokens = type(block).forward(block, tokens, **kwargs)
    return site.leave(tokens)


def through(site: Site, tokens: Tensor, told: Told, start: int, stop: int) -> Tensor:
    """Tokens `[B, N, D]` that enter block `start` to those that enter block `stop`.

    After the last block, where it is fused, only the tokens that pooling reads.
    """
    for layer in range(start, stop):
        block, kwargs = site.blocks[layer], told[layer]
        if layer == site.depth - 1 and (rows := rows_read(site)) is not None:
            kwargs = {**kwargs, "rows": rows}
        tokens = _call(site, block, tokens, kwargs)
    return tokens


def rows_read(site: Site) -> int | None:
    """`rows_of` the site, if the last block is fused."""
    return rows_of(site) if isinstance(site.blocks[-1].__dict__.get("forward"), Fused) else None


def rows_of(site: Site) -> int | None:
    """How many of the first tokens pooling reads, if they are part of the prefix."""
    count = {"first": 1, "prefix": site.prefix}.get(site.reads)
    return count if count is not None and count <= site.prefix else None


def _call(site: Site, block: nn.Module, tokens: Tensor, told: dict[str, Any]) -> Tensor:
    out: Tensor = checkpoint(block, tokens, **told) if site.recomputes else block(tokens, **told)
    return out
