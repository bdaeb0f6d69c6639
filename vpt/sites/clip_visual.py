"""The image towers of open_clip's models: its own `VisionTransformer`, and timm models inside a `TimmModel`.

Prompts enter after the position embeddings and, in the first block, before `ln_pre`, as MaPLe's and VPT's do. What they
become is gone before pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vpt.errors import UnsupportedBackbone
from vpt.sites.find import find
from vpt.sites.site import Reads, Site, Told, keeps

SUPPORTED = "open_clip's VisionTransformer with stock forwards, and a TimmModel around a transformer of timm's"


class ClipVisualSite(Site):
    """The place in open_clip's own `VisionTransformer`; `backbone` is that tower."""

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return list(self._backbone.transformer.resblocks)

    @property
    def entry(self) -> nn.Module | None:
        """What prompts of the first block go through before it: `ln_pre`."""
        return self._backbone.ln_pre  # type: ignore[no-any-return]

    @property
    def patch_embed(self) -> nn.Module:
        """What turns images into patch tokens: a convolution, whose answer the tower reshapes."""
        return self._backbone.conv1  # type: ignore[no-any-return]

    @property
    def final_norm(self) -> nn.Module:
        """What stands between the last block and pooling, or after it."""
        return self._backbone.ln_post  # type: ignore[no-any-return]

    @property
    def recomputes(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return bool(self._backbone.transformer.grad_checkpointing)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self._backbone.transformer.resblocks)

    @property
    def width(self) -> int:
        """Width D of a token."""
        return int(self._backbone.conv1.out_channels)

    @property
    def features(self) -> int:
        """Width of an image feature."""
        projection = self._backbone.proj
        return self.width if projection is None else int(projection.shape[1])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images the tower was built for, in pixels."""
        height, width = self._backbone.image_size
        return int(height), int(width)

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        height, width = self._backbone.grid_size
        return int(height) * int(width)

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of the pixels behind one patch token."""
        height, width = self._backbone.patch_size
        return int(height), int(width)

    @property
    def num_classes(self) -> int:
        """0: the tower has no head."""
        return 0

    def leave(self, tokens: Tensor) -> Tensor:
        """Features `[B, F]`, not normalised, of the tokens after the last block."""
        tower = self._backbone
        pooled, _ = tower._pool(tokens)
        out: Tensor = pooled if tower.proj is None else pooled @ tower.proj
        return out

    def pooled(self, tokens: Tensor, read: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        """`leave`: the tower normalises while it pools, and nothing comes in between."""
        return (self.leave(tokens),)


def visual_site(clip: Any) -> Site:
    """The site in the image tower of an open_clip model. Raises `UnsupportedBackbone` for one that takes no prompts."""
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    tower = clip.visual
    if keeps(tower, VisionTransformer, "forward", "_embeds", "_pool") and tower.transformer.batch_first:
        return ClipVisualSite(tower, "open_clip", 1, tower.pool_type, _reads(tower), _enter)
    if keeps(tower, TimmModel, "forward"):
        return find(tower.trunk)
    raise UnsupportedBackbone(
        f"visual prompts do not fit this image tower, a {type(tower).__module__}.{type(tower).__qualname__}. "
        f"Supported: {SUPPORTED}."
    )


def image_dtype(clip: Any) -> torch.dtype:
    """What the image tower of an open_clip model takes: the type of the layer that reads images, the first of all.

    Where open_clip's precision is "bf16" or "fp16", embeddings and norms stay in float32 beside it.
    """
    layers = (module.weight for module in clip.visual.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    first: Tensor = next(layers, next(clip.visual.parameters(), torch.empty(0)))
    return first.dtype


def _reads(tower: Any) -> Reads:
    if tower.attn_pool is not None or tower.pool_type == "none":
        return "all"
    return "first" if tower.pool_type == "tok" else "patches"


def _enter(tower: Any, images: Tensor) -> tuple[Tensor, Told]:
    """Tokens `[B, N, D]` before the first block; blocks are told nothing."""
    return tower._embeds(images), [{} for _ in tower.transformer.resblocks]
