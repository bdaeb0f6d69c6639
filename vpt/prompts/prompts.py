"""What every kind of prompt has in common: a small module that keeps its float32 master."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def master_precision(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`fn` (a cast or a move) that never lowers a floating tensor below float32.

    `model.half()` would round the prompts that the optimiser is still moving; they are cast at insertion instead.
    """

    def keep(tensor: Tensor) -> Tensor:
        out = fn(tensor)
        if tensor.is_floating_point() and torch.finfo(out.dtype).bits < 32:
            return tensor.to(out.device)
        return out

    return keep


class Prompts(nn.Module):
    """Base of everything that is learned beside the backbone and the head."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(master_precision(fn), recurse)
