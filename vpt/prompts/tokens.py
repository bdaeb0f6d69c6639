"""Prompt tokens: P learned vectors that enter the sequence of each prompted block (VPT, arXiv:2203.12119)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.errors import OptionError
from vpt.prompts.init import Initializer, kaiming
from vpt.prompts.prompts import Prompts

DropoutMode = Literal["step", "sample"]


class Tokens(Prompts, ABC):
    """Base of all prompts that are P tokens for each block in `layers`, which are ascending."""

    length: int
    layers: tuple[int, ...]

    @abstractmethod
    def forward(self, layer: int, batch: int) -> Tensor:
        """The tokens that enter block `layer`: `[1, P, D]`, or `[B, P, D]` where they differ between images."""


class TokenPrompts(Tokens):
    """Learned tokens for the blocks in `layers`.

    Parameters
    ----------
    width: width D of the backbone.
    length: tokens P per prompted block.
    layers: the prompted blocks, ascending; `(0,)` is VPT-Shallow, all of them VPT-Deep.
    init: called with the shape `(L, P, d)` and a generator; d is `project` or D, L is 1 where `shared`.
    shared: one set of tokens for all prompted blocks.
    project: learn tokens of this smaller width d, and one linear map from d to D for all blocks.
    dropout: probability of dropping an entry of a prompt in training.
    dropout_mode: `"step"` draws one mask for the whole batch, `"sample"` one per image, as the paper's code does.
    """

    def __init__(
        self,
        width: int,
        length: int,
        layers: Sequence[int],
        init: Initializer,
        *,
        shared: bool = False,
        project: int | None = None,
        dropout: float = 0.0,
        dropout_mode: DropoutMode = "step",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive("length", length)
        check_flag("shared", shared)
        check_share("dropout", dropout)
        if project is not None:
            check_positive("project", project)
        if dropout_mode not in ("step", "sample"):
            raise OptionError(f"dropout_mode is {dropout_mode!r}; accepted: 'step', 'sample'")
        self.length, self.layers, self.shared = length, tuple(layers), shared
        self.dropout, self.dropout_mode = dropout, dropout_mode
        rows = min(1, len(self.layers)) if shared else len(self.layers)
        self.tokens = nn.Parameter(init((rows, length, project or width), generator))
        self.projection = projection(project, width, generator) if project is not None else None

    def forward(self, layer: int, batch: int) -> Tensor:
        """The tokens that enter block `layer`: `[1, P, D]`, or `[B, P, D]` while a per-sample mask is drawn."""
        tokens = self.tokens[0 if self.shared else self.layers.index(layer)].unsqueeze(0)
        if self.projection is not None:
            tokens = self.projection(tokens)
        if self.training and self.dropout > 0:
            rows = batch if self.dropout_mode == "sample" else 1
            tokens = F.dropout(tokens.expand(rows, -1, -1), self.dropout)
        return tokens

    def extra_repr(self) -> str:
        return f"length={self.length}, layers={self.layers}, shared={self.shared}, dropout={self.dropout}"


def projection(project: int, width: int, generator: torch.Generator | None) -> nn.Linear:
    """The map from the prompts' own width to D, kaiming-normal with fan-out as in the paper's code."""
    linear: nn.Linear = nn.utils.skip_init(
        nn.Linear, project, width
    )  # torch's own start would draw from the global generator
    linear.weight = nn.Parameter(kaiming((width, project), generator))
    nn.init.zeros_(linear.bias)
    return linear


def check_positive(name: str, value: object) -> None:
    """Raise `OptionError` unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{name} is {value!r}; accepted: a whole number, 1 or more")


def check_flag(name: str, value: object) -> None:
    """Raise `OptionError` unless `value` is true or false."""
    if not isinstance(value, int) or value not in (0, 1):
        raise OptionError(f"{name} is {value!r}; accepted: true or false")


def check_share(name: str, value: float) -> None:
    """Raise `OptionError` unless `value` lies in [0, 1)."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise OptionError(f"{name} is {value!r}; accepted: a number from 0 up to, not including, 1")
