"""A trial: one training with one setting and one measurement, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SEARCH, FINAL = "search", "final"


@dataclass(frozen=True)
class Trial:
    """What is trained, and how.

    stage: "search" trains on the training images and measures validation; "final" trains on both and measures test.
        A suite may have others, which say what is drawn and what is measured (`benchmarks.fewshot.stage`).
    lr, weight_decay: None in a final trial that takes the best point of its cell's search.
    options: of the method. recipe: a name in `Settings.recipes`.
    """

    task: str
    variant: str
    stage: str
    method: str
    recipe: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    weight_decay: float | None = None

    @property
    def id(self) -> str:
        """The trial's name, and that of its file: `cifar.deep.search.lr-0.5-wd-0.001`, `cifar.deep.final.seed-42`."""
        point = f"lr-{self.lr:g}-wd-{self.weight_decay:g}" if self.stage == SEARCH else f"seed-{self.seed}"
        return f"{self.task}.{self.variant}.{self.stage}.{point}"

    @property
    def shares_images(self) -> bool:
        """Whether all trials of its cell and stage are trained on the same images: few-shot ones draw their own."""
        return self.stage in (SEARCH, FINAL)

    @property
    def cell(self) -> tuple[str, str]:
        """The cell of the table that the trial belongs to: task and variant."""
        return self.task, self.variant

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, the id included."""
        return {"id": self.id, **asdict(self), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trial:
        """The inverse of `to_dict`."""
        return cls(**{name: value for name, value in content.items() if name != "id"})


@dataclass(frozen=True)
class Point:
    """What a search chose: learning rate, weight decay, and the trials it was chosen from."""

    lr: float
    weight_decay: float
    by: tuple[str, ...] = ()
