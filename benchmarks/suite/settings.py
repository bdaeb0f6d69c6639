"""How the trials of a suite are trained: what they share, and a recipe per family of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.suite.trial import FINAL, SEARCH, Trial
from vpt.errors import OptionError
from vpt.runs.config import BackboneConfig, PreprocessingConfig
from vpt.training.config import FitConfig

DEFAULT = "default"

TOGETHER = ("linear",)
"""Methods whose trials of one cell are one computation: a matrix per head, trained side by side."""


@dataclass
class SourceConfig:
    """Where tasks come from: a source and its options. own_splits: other numbers of images are accepted."""

    source: str = ""  # must be named
    root: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    own_splits: bool = False


@dataclass
class Recipe:
    """Optimiser and grid. One learning rate and one weight decay: nothing is searched."""

    optimizer: str = "adamw"
    lr: list[float] = field(default_factory=lambda: [1e-3])
    weight_decay: list[float] = field(default_factory=lambda: [1e-4])
    epochs: dict[str, int] = field(default_factory=dict)  # by stage, or "default"; others: those of the settings
    batch_size: int | None = None  # None: that of the settings
    warmup_epochs: float | None = None  # None: a tenth of the epochs
    decay: list[str] = field(default_factory=list)  # of "bias", "norm", "prompts": what decays besides weights

    @property
    def searches(self) -> bool:
        """Whether a point has to be chosen on validation images."""
        return len(self.lr) * len(self.weight_decay) > 1


@dataclass
class Settings:
    """What all trials of a plan share. `recipes` are by method name; others take "default".

    targets: tasks on which what was learned on another one is measured, in stages that do so.
    """

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
    targets: list[str] = field(default_factory=list)

    def recipe_of(self, method: str) -> str:
        """The name of the recipe that a method is trained by."""
        return method if method in self.recipes else DEFAULT

    def epochs_of(self, stage: str, recipe: str = DEFAULT) -> int:
        """How long a trial of a stage is trained by a recipe."""
        own = self.recipes[recipe].epochs
        if stage in own or DEFAULT in own:
            return own.get(stage, own.get(DEFAULT, 0))
        return self.search_epochs if stage == SEARCH and self.search_epochs is not None else self.epochs

    def fit(self, trial: Trial, lr: float, weight_decay: float) -> FitConfig:
        """The training settings of one trial. What is trained side by side is trained in float32."""
        recipe, epochs = self.recipes[trial.recipe], self.epochs_of(trial.stage, trial.recipe)
        warmup = recipe.warmup_epochs
        if warmup is not None and trial.stage == SEARCH:
            warmup *= epochs / self.epochs  # a shorter search warms up for the same share of it
        together = trial.method in TOGETHER and trial.shares_images
        return FitConfig(
            epochs=epochs, batch_size=recipe.batch_size or self.batch_size, optimizer=recipe.optimizer, lr=lr,
            weight_decay=weight_decay, warmup_epochs=warmup, decay=list(recipe.decay), schedule=self.schedule,
            scale_lr=self.scale_lr, precision="fp32" if together else self.precision, seed=trial.seed,
            checkpoint_every=CHECKPOINT_EVERY, tensorboard=False,
        )  # fmt: skip

    def problems(self, stages: Sequence[str] = (SEARCH, FINAL)) -> Iterator[str]:
        """One line per value that cannot be in one of the stages: its field, what was given, what is accepted."""
        if DEFAULT not in self.recipes:
            yield f"recipes: {', '.join(self.recipes) or 'none'} given; accepted: with one named {DEFAULT!r}"
        for name, recipe in self.recipes.items():
            for field_name in ("lr", "weight_decay"):
                values = getattr(recipe, field_name)
                if not values or len(set(values)) != len(values):
                    yield f"recipes.{name}.{field_name}: {values} given; accepted: one or more different numbers"
            if wrong := [stage for stage in recipe.epochs if stage not in (*stages, DEFAULT)]:
                yield f"recipes.{name}.epochs: {', '.join(wrong)} given; accepted: {', '.join([DEFAULT, *stages])}"
            if recipe.batch_size is not None and recipe.batch_size < 1:
                yield f"recipes.{name}.batch_size: {recipe.batch_size} given; accepted: a whole number from 1"
            yield from dict.fromkeys(self._points_problems(name, recipe, stages))

    def _points_problems(self, name: str, recipe: Recipe, stages: Sequence[str]) -> Iterator[str]:
        """What the training settings of each point would refuse."""
        if self.epochs < 1:  # shares of it are taken
            yield f"epochs: {self.epochs} given; accepted: a whole number from 1"
            return
        for stage in stages:
            trial = Trial("", "", stage, "", name, 0)
            for lr, decay in product(recipe.lr, recipe.weight_decay):
                yield from (f"recipes.{name}, {stage}: {line}" for line in self.fit(trial, lr, decay).problems())

    def validate(self, stages: Sequence[str] = (SEARCH, FINAL)) -> None:
        """Raise one `OptionError` that lists every wrong value."""
        if problems := list(self.problems(stages)):
            raise OptionError("wrong settings of a benchmark:\n" + "\n".join(f"  {line}" for line in problems))


CHECKPOINT_EVERY = 5
"""Epochs between checkpoints of a trial: what an interruption costs at the most."""
