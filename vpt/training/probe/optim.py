"""The optimisers of `optim`, for heads `[S, C, D + 1]` that have a learning rate and a weight decay each.

Few passes over memory are what counts here: a gradient is used up where it lies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class StackedSGD:
    """`torch.optim.SGD` with momentum. decay: `[S, 1, D + 1]`, or None where nothing decays."""

    def __init__(self, weights: Tensor, decay: Tensor | None, momentum: float) -> None:
        self.weights, self.decay, self.momentum = weights, decay, momentum
        self.state = (torch.zeros_like(weights),)

    def step(self, gradient: Tensor, rates: Tensor) -> None:
        """Move the weights at learning rates `[S, 1, 1]`; `gradient` is used up."""
        (velocity,) = self.state
        if self.decay is not None:
            gradient.addcmul_(self.weights, self.decay)
        torch.add(gradient, velocity, alpha=self.momentum, out=velocity)
        self.weights.addcmul_(velocity, rates, value=-1)


class StackedAdamW:
    """`torch.optim.AdamW` with its default betas and eps. decay: `[S, 1, D + 1]`, or None where nothing decays."""

    BETAS, EPS = (0.9, 0.999), 1e-8

    def __init__(self, weights: Tensor, decay: Tensor | None) -> None:
        self.weights, self.decay = weights, decay
        self.state = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = 0

    def step(self, gradient: Tensor, rates: Tensor) -> None:
        """Move the weights at learning rates `[S, 1, 1]`; `gradient` is used up."""
        (first, second), (mean, square) = self.BETAS, self.state
        self.steps += 1
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        if self.decay is not None:
            self.weights *= 1 - rates * self.decay
        # both corrections for the zeros at the start go into small numbers, not into passes of their own
        warm = math.sqrt(1 - second**self.steps)
        spread = torch.sqrt(square, out=gradient).add_(self.EPS * warm)
        self.weights.addcmul_(torch.div(mean, spread, out=spread), rates, value=-warm / (1 - first**self.steps))
