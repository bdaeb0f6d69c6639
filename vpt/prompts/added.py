"""Prompts that are added to the patch tokens instead of standing beside them (the paper's ablation, figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vpt.prompts.init import Initializer
from vpt.prompts.prompts import Prompts


class AddedPrompts(Prompts):
    """One vector per patch position, or one for all positions, added at the input of each block in `layers`.

    `patches` is the number of patch tokens, or 1 for a single vector shared by all positions.
    """

    def __init__(
        self,
        width: int,
        patches: int,
        layers: Sequence[int],
        init: Initializer,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.tokens = nn.Parameter(init((len(self.layers), patches, width), generator))

    def forward(self, layer: int) -> Tensor:
        """What is added to the patch tokens `[B, N - prefix, D]` of block `layer`: `[1, patches, D]`."""
        return self.tokens[self.layers.index(layer)].unsqueeze(0)
