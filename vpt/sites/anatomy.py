"""How a block is put together: what every family of blocks tells in the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Parts(Protocol):
    """An attention in parts. Shapes: tokens `[B, N, D]`; queries, keys and values `[B, heads, N, d]`."""

    def project(self, attention: Any, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
        """The `parts` (any of `"qkv"`) of tokens, with the model's own query and key norms."""

    def rotate(self, attention: Any, x: Tensor, rope: Tensor | None, prefix: int) -> Tensor:
        """Queries or keys with what comes after `prefix` rotated by `rope`."""

    def own_bias(self, attention: Any, told: dict[str, Any], tokens: int, device: torch.device) -> Tensor | None:
        """What the model adds to the scores of its own N tokens, or a boolean mask of them."""

    def attend(self, attention: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """What each query reads, `[B, heads, R, d]`."""

    def leave(self, attention: Any, read: Tensor, tokens: Tensor) -> Tensor:
        """From what the queries of `tokens` `[B, R, D]` read to the attention's answer `[B, R, D]`."""


@dataclass(frozen=True)
class Anatomy:
    """How one class of blocks is put together.

    attentions: the block's attentions, each with the norm before it.
    close: the block's output for the tokens `[B, R, D]` that asked, given each attention's answer `[B, R, D]`.
    parts: its attentions in parts.
    """

    attentions: Callable[[Any], list[tuple[nn.Module, nn.Module]]]
    close: Callable[[Any, Tensor, list[Tensor]], Tensor]
    parts: Parts
