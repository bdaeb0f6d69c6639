"""Prompts of both towers of a CLIP: side by side, or the image tower's made from the text tower's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpt.prompts.context import LayeredContext, linear
from vpt.prompts.prompts import Prompts
from vpt.prompts.tokens import Tokens


class CoupledTokens(Tokens):
    """Tokens for an image tower of width D': each block's is a linear map of that block's text tokens (MaPLe).

    arXiv:2210.03117. Blocks 0 to J - 1 are prompted, each with as many tokens as `text`.
    """

    def __init__(self, text: LayeredContext, width: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layers, self.length = tuple(range(text.depth)), text.length
        inner = text.tokens.shape[-1]
        self.projections = nn.ModuleList(linear(inner, width, generator) for _ in self.layers)
        self._text = (text,)  # in a tuple: it is a part of the text tower's prompts

    def forward(self, layer: int, batch: int) -> Tensor:
        """The tokens `[1, P, D']` that enter block `layer`."""
        (text,) = self._text
        out: Tensor = self.projections[layer](text.at(layer))
        return out.unsqueeze(0)


class BothTowers(Prompts):
    """A context of class names, layer by layer, and tokens of the image tower."""

    per_class = False

    def __init__(self, text: LayeredContext, visual: Tokens) -> None:
        super().__init__()
        self.text, self.visual = text, visual

    @property
    def deeper(self) -> Tensor | None:
        """What takes the context's places before each of the next text blocks, `[J - 1, M, D]`."""
        return self.text.deeper

    def forward(self) -> Tensor:
        """The context `[1, 1, M, D]` of the first text block."""
        out: Tensor = self.text()
        return out
