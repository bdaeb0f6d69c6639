"""What a training run is told: one flat dataclass, checked as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vpt.errors import OptionError, nearest

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("step", "epoch")
PRECISIONS = ("fp32", "bf16", "fp16")
DECAYABLE = ("bias", "norm", "prompts")
BOOKKEEPING = (
    *("workers", "log_every", "checkpoint_every", "tensorboard"),
    *("frozen_cache_gb", "gradient_checkpointing", "compile"),
)
"""Fields that change what a run costs or writes, never what it computes."""


@dataclass
class FitConfig:
    """Settings of `fit`. The defaults are a modern recipe; the paper's has sgd, `scale_lr` and schedule "epoch"."""

    epochs: int = 100
    batch_size: int = 64  # images per step, over all processes together
    optimizer: str = "adamw"  # or "sgd"
    lr: float = 1e-3
    scale_lr: bool = False  # the paper's rule: lr × batch_size / 256
    weight_decay: float = 1e-4
    momentum: float = 0.9  # of SGD
    warmup_epochs: float | None = None  # None: a tenth of the epochs, the paper's 10 of 100
    schedule: str = "step"  # the learning rate moves per "step", or per "epoch" as in the paper
    decay: list[str] = field(default_factory=list)  # of "bias", "norm", "prompts": those that also decay
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # largest norm of the gradient as one vector
    precision: str = "fp32"  # "bf16" | "fp16": autocast; learned tensors stay float32
    class_weights: Any = "none"  # "none" | "balanced" | one weight per class
    seed: int = 0
    workers: int = 0
    frozen_cache_gb: float = 8.0  # most disk for what the frozen part gives, computed once per image; 0: none
    gradient_checkpointing: bool = False  # blocks computed again in the backward pass: less memory, more time
    compile: bool = False  # torch.compile
    log_every: int = 10  # steps
    checkpoint_every: int = 1  # epochs
    tensorboard: bool = True

    @property
    def base_lr(self) -> float:
        """The peak learning rate, scaled by the batch size if asked."""
        return self.lr * self.batch_size / 256 if self.scale_lr else self.lr

    @property
    def warmup(self) -> float:
        """Epochs of linear warm-up."""
        return self.epochs / 10 if self.warmup_epochs is None else self.warmup_epochs

    def recipe(self) -> dict[str, Any]:
        """The fields that decide what a run computes, JSON-able; a run resumes only where these are equal."""
        return {name: value for name, value in self.to_dict().items() if name not in BOOKKEEPING}

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able."""
        values = asdict(self)
        if not isinstance(self.class_weights, str):
            values["class_weights"] = [float(weight) for weight in self.class_weights]
        return {**values, "decay": list(self.decay)}

    def problems(self) -> list[str]:
        """One line per wrong field: its name, what was given, what is accepted. Empty when all is well."""
        return list(_problems(self))

    def validate(self) -> None:
        """Raise one `OptionError` that lists every wrong field, or do nothing."""
        if problems := self.problems():
            raise OptionError("wrong training settings:\n" + "\n".join(f"  {line}" for line in problems))


def _problems(config: FitConfig) -> Iterator[str]:
    for name, (accepts, wanted) in _RULES.items():
        value = getattr(config, name)
        if not accepts(value):
            yield f"{name}: {value!r} given; accepted: {wanted}"
    for name, names in _CHOICES.items():
        value = getattr(config, name)
        if value not in names:
            yield f"{name}: {value!r} given{nearest(str(value), names)}; accepted: {', '.join(names)}"
    yield from _decay_problems(config.decay)
    if not _class_weights_ok(config.class_weights):
        wanted = "'none', 'balanced' or a list of one non-negative number per class, not all zero"
        yield f"class_weights: {config.class_weights!r} given; accepted: {wanted}"
    warmup: Any = config.warmup_epochs
    if _number(warmup) and _integer(config.epochs) and warmup > config.epochs >= 1:
        yield f"warmup_epochs: {warmup!r} given; accepted: at most epochs ({config.epochs})"


def _decay_problems(decay: Any) -> Iterator[str]:
    if isinstance(decay, str) or not isinstance(decay, Sequence):
        yield f"decay: {decay!r} given; accepted: a list of {', '.join(DECAYABLE)}"
        return
    for name in decay:
        if name not in DECAYABLE:
            yield f"decay: {name!r} given{nearest(str(name), DECAYABLE)}; accepted: {', '.join(DECAYABLE)}"


def _class_weights_ok(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("none", "balanced")
    return (
        isinstance(value, Sequence)
        and all(_number(weight) and weight >= 0 for weight in value)
        and any(w for w in value)
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return (lambda v: _integer(v) and v >= least), f"a whole number from {least}"


def _real(accepts: Callable[[float], bool], wanted: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda v: _number(v) and accepts(v)), wanted


def _optional(rule: tuple[Callable[[Any], bool], str]) -> tuple[Callable[[Any], bool], str]:
    accepts, wanted = rule
    return (lambda v: v is None or accepts(v)), f"none, or {wanted}"


_FLAG = (lambda v: isinstance(v, bool)), "true or false"
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "lr": _real(lambda v: v >= 0, "a number from 0"),
    "scale_lr": _FLAG,
    "weight_decay": _real(lambda v: v >= 0, "a number from 0"),
    "momentum": _real(lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "warmup_epochs": _optional(_real(lambda v: v >= 0, "a number from 0")),
    "label_smoothing": _real(lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "clip_norm": _optional(_real(lambda v: v > 0, "a number above 0")),
    "seed": _whole(0),
    "workers": _whole(0),
    "frozen_cache_gb": _real(lambda v: v >= 0, "a number from 0"),
    "gradient_checkpointing": _FLAG,
    "compile": _FLAG,
    "log_every": _whole(1),
    "checkpoint_every": _whole(1),
    "tensorboard": _FLAG,
}
_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}
