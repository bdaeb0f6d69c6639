"""A stack of linear heads that meet the same batches, and the training of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vpt.training.batches import epoch_batches
from vpt.training.config import FitConfig
from vpt.training.probe.loss import CrossEntropy
from vpt.training.probe.optim import StackedAdamW, StackedSGD
from vpt.training.schedule import learning_rate

Start = tuple[Tensor, Tensor]
"""Weight `[C, D]` and bias `[C]` of a head before training."""


@dataclass(frozen=True)
class Point:
    """One training of a sweep."""

    lr: float
    weight_decay: float
    seed: int = 0

    def settings(self, config: FitConfig) -> FitConfig:
        """`config` for this point alone."""
        return replace(config, lr=self.lr, weight_decay=self.weight_decay, seed=self.seed)


class Stack:
    """S heads as one tensor `weights` `[S, C, D + 1]`: a bias is the weight of an input that is always 1.

    points: of one seed. failures: what went wrong with which of them; such a head is laid to rest as zeros.
    """

    def __init__(self, points: Sequence[Point], start: Start, config: FitConfig, loss: CrossEntropy) -> None:
        self.points, self.config, self.loss = points, config, loss
        self.weights = torch.cat([start[0], start[1].unsqueeze(1)], 1).repeat(len(points), 1, 1)
        self.failures: dict[int, str] = {}
        self._rates = torch.tensor([point.settings(config).base_lr for point in points], dtype=torch.float64)
        self._optimizer = self._build_optimizer()
        self._gradient = torch.empty_like(self.weights)
        self._logits = self.weights.new_empty(0)

    def train(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """All epochs over `inputs` `[n, D + 1]` and `labels` `[n]`; answers the mean loss of each, `[S, epochs]`."""
        most = min(self.config.batch_size, len(inputs))
        self._logits = self.weights.new_empty(self.weights[..., 0].numel() * most)
        return torch.stack([self._epoch(inputs, labels, epoch) for epoch in range(self.config.epochs)], 1)

    def _epoch(self, inputs: Tensor, labels: Tensor, epoch: int) -> Tensor:
        config, seed = self.config, self.points[0].seed
        batches = epoch_batches(len(inputs), config.batch_size, shuffle=True, seed=seed, epoch=epoch)
        order = torch.tensor([i for batch in batches for i in batch], device=inputs.device)
        shuffled = zip(inputs[order].split(config.batch_size), labels[order].split(config.batch_size), strict=True)
        losses, weight = torch.zeros(len(self.points), dtype=torch.float64), 0.0
        unit = replace(config, lr=1.0, scale_lr=False)
        for step, (x, y) in enumerate(shuffled, epoch * len(batches)):
            shares, counted = self.loss.shares(y)
            losses += self._step(x, y, shares, self._rates * learning_rate(step, len(batches), unit), step)
            weight += float(counted)
        losses[list(self.failures)] = math.nan
        return losses / (weight or 1.0)

    def _step(self, x: Tensor, y: Tensor, shares: Tensor, rates: Tensor, step: int) -> Tensor:
        """Learn from one batch; answers the summed losses `[S]`."""
        heads, classes, width = self.weights.shape
        slope = self._logits[: heads * classes * len(x)].view(heads, classes, len(x))
        torch.mm(self.weights.view(-1, width), x.t(), out=slope.view(-1, len(x)))
        losses = self.loss(slope, y).sum(1).cpu().double()
        if not losses.isfinite().all():
            self._fail(losses, slope, rates, step)
        torch.mm(slope.view(-1, len(x)), x * shares.unsqueeze(1), out=self._gradient.view(-1, width))
        if self.config.clip_norm is not None:
            norms = self._gradient.flatten(1).norm(dim=1)
            self._gradient *= (self.config.clip_norm / (norms + 1e-6)).clamp_max(1).view(-1, 1, 1)
        self._optimizer.step(self._gradient, rates.to(x.dtype).to(x.device).view(-1, 1, 1))
        return losses

    def _fail(self, losses: Tensor, slope: Tensor, rates: Tensor, step: int) -> None:
        """Lay the heads without a finite loss to rest: from zeros at rate 0 no NaN comes back to slow the others."""
        for s in (~losses.isfinite()).nonzero().flatten().tolist():
            when = f"at step {step + 1}, learning rate {float(rates[s]):g}"
            self.failures[s] = f"loss is not finite {when} (try a lower learning rate)"
            self._rates[s] = rates[s] = 0
            for tensor in (self.weights, slope, *self._optimizer.state):
                tensor[s] = 0

    def _build_optimizer(self) -> StackedSGD | StackedAdamW:
        decays = torch.tensor([point.weight_decay for point in self.points], dtype=self.weights.dtype)
        decay = decays.to(self.weights.device).view(-1, 1, 1).repeat(1, 1, self.weights.shape[2])
        if "bias" not in self.config.decay:
            decay[..., -1] = 0
        some = decay if decay.any() else None
        if self.config.optimizer == "sgd":
            return StackedSGD(self.weights, some, self.config.momentum)
        return StackedAdamW(self.weights, some)
