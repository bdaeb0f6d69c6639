"""Learning rates as pure functions: linear warm-up from zero, then a half cosine to zero."""

from __future__ import annotations

import math

from vpt.training.config import FitConfig


def warmup_cosine(position: float, warmup: float, total: float) -> float:
    """The factor in [0, 1] at `position` of `total`: `position / warmup` at first, then a cosine from 1 to 0."""
    if position < warmup:
        return position / warmup
    progress = (position - warmup) / max(total - warmup, 1e-12)
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def epoch_lr(epoch: int, config: FitConfig) -> float:
    """The paper's form: one rate for the whole of `epoch` (from 0), so that a warm-up's first epoch has rate 0."""
    return config.base_lr * warmup_cosine(epoch, config.warmup, config.epochs)


def step_lr(step: int, steps_per_epoch: int, config: FitConfig) -> float:
    """The rate of optimiser step `step` (from 0). In the warm-up a step counts as done, so none is spent at rate 0."""
    warmup, total = config.warmup * steps_per_epoch, config.epochs * steps_per_epoch
    position = min(step + 1, warmup) if step < warmup else step
    return config.base_lr * warmup_cosine(position, warmup, total)


def learning_rate(step: int, steps_per_epoch: int, config: FitConfig) -> float:
    """The rate of optimiser step `step` (from 0) under `config.schedule`."""
    if config.schedule == "epoch":
        return epoch_lr(step // steps_per_epoch, config)
    return step_lr(step, steps_per_epoch, config)
