"""The loss of a stack of heads, and its slope in closed form: softmax minus target."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class CrossEntropy:
    """`F.cross_entropy` with class weights `[C]` and label smoothing, for S heads on the same images.

    An image of label y owes `floor` to every class and `peak[y]` to its own; `mass[y]` is what it owes in all.
    """

    def __init__(self, weights: Tensor | None, smoothing: float, num_classes: int, like: Tensor) -> None:
        self.weights = like.new_ones(num_classes) if weights is None else weights.to(like.dtype).to(like.device)
        self.smooth = smoothing > 0
        self.floor = self.weights * (smoothing / num_classes)
        self.peak = self.weights * (1 - smoothing)
        self.mass = self.peak + self.floor.sum()
        self._nothing = torch.finfo(like.dtype).tiny  # instead of 0, in a division whose result will not count
        # subnormal numbers take ten times as long: a softmax ends where its square is still a normal number
        self._least = math.log(self._nothing) / 2

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Losses `[S, B]` for logits `[S, C, B]`, which become their own slope, per unit of each image's mass."""
        logits -= logits.amax(1, keepdim=True)
        owed = self.peak[labels] * logits.gather(1, labels.expand(len(logits), 1, -1)).squeeze(1)
        if self.smooth:
            owed += self.floor @ logits
        total = logits.clamp_min_(self._least).exp_().sum(1, keepdim=True)
        logits /= total
        logits -= self._targets(labels)
        return self.mass[labels] * total.log_().squeeze(1) - owed

    def shares(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What each image `[B]` counts in the slope of the batch's mean loss, and the batch's weight."""
        weight = self.weights[labels].sum()
        return self.mass[labels] / torch.where(weight > 0, weight, 1), weight

    def _targets(self, labels: Tensor) -> Tensor:
        """What the softmax `[C, B]` should have been."""
        mass = self.mass[labels].clamp_min(self._nothing)
        targets = self.floor.unsqueeze(1) / mass
        return targets.scatter_add_(0, labels.unsqueeze(0), (self.peak[labels] / mass).unsqueeze(0))
