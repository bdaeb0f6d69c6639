"""How the trials of a suite are trained: what they share, and a recipe per family of methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vpt.errors import OptionError
from vpt.runs.config import BackboneConfig, PreprocessingConfig
from vpt.training.config import FitConfig

DEFAULT = "default"


@dataclass
class SourceConfig:
    """Where tasks come from: a source of `vpt.data.sources` and its options. own_splits: other sizes are accepted."""

    source: str = "embedded"
    root: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    own_splits: bool = False


@dataclass
class Recipe:
    """Optimiser and grid. One learning rate and one weight decay: nothing is searched."""

    optimizer: str = "adamw"
    lr: list[float] = field(default_factory=lambda: [1e-3])
    weight_decay: list[float] = field(default_factory=lambda: [1e-4])
    warmup_epochs: float | None = None  # None: a tenth of the epochs
    decay: list[str] = field(default_factory=list)  # of "bias", "norm", "prompts": what decays besides weights

    @property
    def searches(self) -> bool:
        """Whether a point has to be chosen on validation images."""
        return len(self.lr) * len(self.weight_decay) > 1


@dataclass
class Settings:
    """What all trials of a plan share. `recipes` are by method name; others take "default"."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: SourceConfig = field(default_factory=SourceConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    recipes: dict[str, Recipe] = field(default_factory=lambda: {DEFAULT: Recipe()})
    epochs: int = 100
    search_epochs: int | None = None  # None: as many as the final training
    batch_size: int = 64
    schedule: str = "step"
    scale_lr: bool = False
    head_init: str = "auto"
    path: str = "auto"
    precision: str = "fp32"

    def recipe_of(self, method: str) -> str:
        """The name of the recipe that a method is trained by."""
        return method if method in self.recipes else DEFAULT

    def fit(self, recipe: str, lr: float, weight_decay: float, seed: int, *, search: bool) -> FitConfig:
        """The training settings of one trial."""
        chosen = self.recipes[recipe]
        epochs = (self.search_epochs or self.epochs) if search else self.epochs
        warmup = chosen.warmup_epochs
        return FitConfig(
            epochs=epochs, batch_size=self.batch_size, optimizer=chosen.optimizer, lr=lr, weight_decay=weight_decay,
            warmup_epochs=None if warmup is None else min(warmup * epochs / self.epochs, epochs),
            decay=list(chosen.decay), schedule=self.schedule, scale_lr=self.scale_lr, precision=self.precision,
            seed=seed, checkpoint_every=CHECKPOINT_EVERY, tensorboard=False,
        )  # fmt: skip

    def problems(self) -> Iterator[str]:
        """One line per value that cannot be: its field, what was given, what is accepted."""
        if DEFAULT not in self.recipes:
            yield f"recipes: {', '.join(self.recipes) or 'none'} given; accepted: with one named {DEFAULT!r}"
        for name, recipe in self.recipes.items():
            for field_name in ("lr", "weight_decay"):
                values = getattr(recipe, field_name)
                if not values or len(set(values)) != len(values):
                    yield f"recipes.{name}.{field_name}: {values} given; accepted: one or more different numbers"
            for lr in recipe.lr[:1]:
                for decay in recipe.weight_decay[:1]:
                    tried = self.fit(name, lr, decay, 0, search=False)
                    yield from (f"recipes.{name}: {line}" for line in tried.problems())

    def validate(self) -> None:
        """Raise one `OptionError` that lists every wrong value."""
        if problems := list(self.problems()):
            raise OptionError("wrong settings of a benchmark:\n" + "\n".join(f"  {line}" for line in problems))


CHECKPOINT_EVERY = 5
"""Epochs between checkpoints of a trial: what an interruption costs at the most."""
