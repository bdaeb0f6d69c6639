"""What a backbone tells: its blocks, its width, where its patches start and what its pooling reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Positions = Literal["absolute", "rotary", "relative"]
Reads = Literal["first", "prefix", "patches", "all"]
Told = list[dict[str, Any]]
"""The keyword arguments that each block is called with: positions, biases."""


@dataclass(frozen=True)
class Site:
    """The place in a frozen backbone where prompts can enter.

    family: the timm module the model's class comes from.
    prefix: tokens before the patches (class, distillation, registers); prompts stand right after them.
    pooling: timm's name of the pooling (`token`, `avg`, `map`, ... or an empty string).
    reads: which of the tokens pooling reads: the first, the whole prefix, the patches, or all.
    enter: from the backbone and images `[B, 3, H, W]` to the tokens `[B, N, D]` before the first block, and what each
        block is told beside them.
    positions: how blocks know positions; `rotary` and `relative` need room made for inserted tokens.
    heads: names of the classifier modules.
    """

    backbone: nn.Module
    family: str
    prefix: int
    pooling: str
    reads: Reads
    enter: Callable[[Any, Tensor], tuple[Tensor, Told]]
    positions: Positions = "absolute"
    heads: tuple[str, ...] = ("head",)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return list(self._backbone.blocks)

    @property
    def entry(self) -> nn.Module | None:
        """What prompts of the first block go through before it, besides the tokens; None for nothing."""
        return None

    @property
    def patch_embed(self) -> nn.Module:
        """What turns images `[B, 3, H, W]` into patch tokens."""
        return self._backbone.patch_embed  # type: ignore[no-any-return]

    @property
    def final_norm(self) -> nn.Module:
        """What stands between the last block and pooling (an identity where the norm comes after pooling)."""
        return self._backbone.norm  # type: ignore[no-any-return]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self._backbone.blocks)

    @property
    def width(self) -> int:
        """Width D of a token."""
        return int(self._backbone.embed_dim)

    @property
    def features(self) -> int:
        """Width of what the head reads."""
        return int(self._backbone.num_features)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images the model was built for, in pixels."""
        height, width = self._backbone.patch_embed.img_size
        return int(height), int(width)

    @property
    def patches(self) -> int:
        """Number of patch tokens at `image_size`."""
        return int(self._backbone.patch_embed.num_patches)

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of the pixels behind one patch token."""
        height, width = self._backbone.patch_embed.feat_ratio(as_scalar=False)
        return int(height), int(width)

    @property
    def num_classes(self) -> int:
        """Classes of the model's own head; 0 where it has none."""
        return int(self._backbone.num_classes)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the tokens: that of the layer that reads images, the first of all."""
        layers = (module.weight for module in self.backbone.modules() if isinstance(module, nn.Conv2d | nn.Linear))
        return next(layers, next(self.backbone.parameters())).dtype

    @property
    def recomputes(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return bool(self._backbone.grad_checkpointing)

    def leave(self, tokens: Tensor) -> Tensor:
        """What the backbone answers, logits `[B, C]`, for the tokens after the last block."""
        backbone = self._backbone
        out: Tensor = backbone.forward_head(backbone.norm(tokens))
        return out

    def pooled(self, tokens: Tensor, read: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        """What each of the `heads` reads, `[B, F]`, of the tokens after the last block.

        read: what normalised tokens go through before they are pooled.
        """
        backbone = self._backbone
        normed = read(backbone.norm(tokens))
        if len(self.heads) > 1:  # a token for each
            return tuple(backbone.head_drop(normed[:, i]) for i in range(len(self.heads)))
        return (backbone.forward_head(normed, pre_logits=True),)

    @property
    def _backbone(self) -> Any:
        return self.backbone  # timm ships no types


def keeps(model: nn.Module, base: type[nn.Module], *names: str) -> bool:
    """Whether `model` runs the stock methods `names` of `base`: a subclass may, as long as it leaves these alone."""
    unchanged: Callable[[str], bool] = lambda name: getattr(type(model), name) is getattr(base, name)  # noqa: E731
    return isinstance(model, base) and all(unchanged(name) for name in names)
