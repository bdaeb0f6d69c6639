"""Steps that do not oppose a second loss (ProGrad, arXiv:2205.14865)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def guide_gradients(guide: Tensor, trained: Iterable[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of a guide loss, for each parameter; the graph is kept for the loss itself."""
    return list(torch.autograd.grad(guide, list(trained), retain_graph=True, allow_unused=True))


def unopposed(gradient: Tensor, guide: Tensor) -> Tensor:
    """`gradient` without its part against `guide`, where the two point apart; else as it is.

    Both may be scaled by any positive number, as a gradient scaler does.
    """
    along, size = (gradient * guide).sum(), (guide * guide).sum()
    return torch.where((along < 0) & (size > 0), gradient - along / size * guide, gradient)


def follow(trained: Iterable[nn.Parameter], guides: Iterable[Tensor | None]) -> None:
    """Make every parameter's gradient `unopposed` to its guide."""
    for parameter, guide in zip(trained, guides, strict=True):
        if parameter.grad is not None and guide is not None:
            parameter.grad = unopposed(parameter.grad, guide.to(parameter.grad.dtype))
