"""Many linear probes as one problem: every learning rate, weight decay and seed of a sweep trained side by side.

On frozen features a linear probe is a matrix, and a sweep a taller matrix: points that share a seed share the batches,
so that one product gives the logits of all of them and another their gradients. Each head learns what `fit` alone
would have taught it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpt.errors import DataError, OptionError
from vpt.training.config import FitConfig
from vpt.training.learner import class_weights
from vpt.training.preflight import Facts
from vpt.training.probe.loss import CrossEntropy
from vpt.training.probe.stack import Point, Stack, Start

__all__ = ["Point", "Probes", "train_together", "usable"]

TOGETHER = 2**22
"""Most weights of one stack; points beyond take turns, since a stack far above the caches is no faster."""


@dataclass(frozen=True)
class Probes:
    """S trained heads, in the order of their points.

    weights: `[S, C, D]`; biases: `[S, C]`; losses: `[S, epochs]` float64, the training loss of each epoch.
    failures: None, or what was not finite and when. The numbers of a failed head are NaN from there on.
    """

    weights: Tensor
    biases: Tensor
    losses: Tensor
    failures: tuple[str | None, ...]

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Logits `[S, B, C]` for inputs `[B, D]`."""
        return torch.einsum("bd,scd->sbc", inputs, self.weights) + self.biases.unsqueeze(1)


@torch.no_grad()
def train_together(
    inputs: Tensor,
    labels: Tensor | np.ndarray,
    points: Sequence[Point],
    config: FitConfig,
    num_classes: int,
    starts: Mapping[int, Start] | None = None,
) -> Probes:
    """What `fit` under `config` makes of a linear head on `inputs` `[n, D]` and `labels` `[n]`, for every point.

    A point's learning rate, weight decay and seed stand in for those of `config`. Trains in the type of `inputs`, on
    their device. One point's NaN or infinity is its own failure.
    starts: weight `[C, D]` and bias `[C]` of the head at the beginning, by seed; None: zeros.

    Raises `OptionError` (settings, points, starts; autocast) or `DataError` (inputs, labels).
    """
    labels = labels if isinstance(labels, Tensor) else torch.tensor(labels)
    _check_settings(points, config, num_classes)
    _check_data(inputs, labels, num_classes)
    zeros = inputs.new_zeros(num_classes, inputs.shape[1]), inputs.new_zeros(num_classes)
    begun = {point.seed: zeros if starts is None else _start(starts, point.seed, zeros) for point in points}
    facts = Facts(labels.cpu().numpy(), num_classes, ())
    loss = CrossEntropy(class_weights(config.class_weights, facts), config.label_smoothing, num_classes, inputs)
    inputs, labels = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1), labels.long().to(inputs.device)

    weights = inputs.new_empty(len(points), num_classes, inputs.shape[1])
    losses = torch.empty(len(points), config.epochs, dtype=torch.float64)
    failures: dict[int, str] = {}
    for part in _parts(points, max(1, TOGETHER // weights[0].numel())):
        stack = Stack([points[s] for s in part], begun[points[part[0]].seed], config, loss)
        losses[part] = stack.train(inputs, labels)
        weights[part] = stack.weights
        failures |= {part[s]: failure for s, failure in stack.failures.items()}
    weights[list(failures)] = math.nan
    heads = weights[..., :-1].contiguous(), weights[..., -1].contiguous()
    return Probes(*heads, losses, tuple(failures.get(s) for s in range(len(points))))


def _parts(points: Sequence[Point], most: int) -> Iterator[list[int]]:
    """Positions of points that can be trained in one stack: those of one seed, at most so many."""
    for seed in dict.fromkeys(point.seed for point in points):
        mine = [s for s, point in enumerate(points) if point.seed == seed]
        yield from (mine[first : first + most] for first in range(0, len(mine), most))


def _start(starts: Mapping[int, Start], seed: int, like: Start) -> Start:
    if seed not in starts:
        raise OptionError(f"starts: none given for seed {seed}; given: {', '.join(map(str, starts)) or 'none'}")
    given, wanted = [list(part.shape) for part in starts[seed]], [list(part.shape) for part in like]
    if given != wanted:
        raise OptionError(f"starts: shapes {given} given for seed {seed}; accepted: {wanted}")
    weight, bias = (part.to(zeros) for part, zeros in zip(starts[seed], like, strict=True))
    return weight, bias


def _check_settings(points: Sequence[Point], config: FitConfig, num_classes: int) -> None:
    config.validate()
    problems = [f"point {s}: {line}" for s, point in enumerate(points) for line in point.settings(config).problems()]
    if config.precision != "fp32":
        problems.append(f"precision: {config.precision!r} given; heads are trained together in fp32 alone")
    if num_classes < 1:
        problems.append(f"num_classes: {num_classes!r} given; accepted: a whole number from 1")
    weights = config.class_weights
    if not isinstance(weights, str) and len(weights) != num_classes:
        problems.append(f"class_weights: {len(weights)} numbers given; accepted: one per class, {num_classes}")
    if not points:
        problems.append("points: none given; accepted: one or more")
    if problems:
        raise OptionError("wrong settings of a sweep:\n" + "\n".join(f"  {line}" for line in problems))


def _check_data(inputs: Tensor, labels: Tensor, num_classes: int) -> None:
    if inputs.ndim != 2 or inputs.dtype not in (torch.float32, torch.float64):
        raise DataError(f"inputs: {inputs.dtype} {list(inputs.shape)} given; accepted: float32 or float64 [n, D]")
    if len(inputs) == 0 or labels.shape != inputs.shape[:1] or labels.is_floating_point():
        given = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(f"labels: {given} given for {len(inputs)} inputs; accepted: one whole number per input")
    if len(broken := (~usable(inputs)).nonzero()):
        raise DataError(f"input {int(broken[0])} holds NaN, infinite or too large values, and {len(broken) - 1} more")
    if len(wrong := ((labels < 0) | (labels >= num_classes)).nonzero()):
        first = int(wrong[0])
        raise DataError(f"label {int(labels[first])} of input {first} is outside 0 ... {num_classes - 1}")


def usable(inputs: Tensor) -> Tensor:
    """Which of `inputs` `[n, D]` have a finite length: a finite loss on them never has a gradient that is not."""
    return inputs.square().sum(1).isfinite()
