"""`Task`: the train, validation and test images of one classification problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from vpt.data.decode import RULES
from vpt.data.imageset import ImageSet, Progress, refuse
from vpt.errors import DataError


@dataclass(frozen=True)
class Task:
    """Three image sets with the same classes. Choices are made on `val`, never on `test`.

    `splits` says in words where each set came from, `about` what the images are;
    `whole` is the training and validation images together where the source gives them an order of its own;
    `deviations` says in what the task is not the published one whose name it has;
    `prepared_with` holds the versions of what decoded and resized its images beforehand, and nothing where none did.
    """

    name: str
    train: ImageSet
    val: ImageSet
    test: ImageSet
    whole: ImageSet | None = None
    about: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    prepared_with: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, images in self.sets().items():
            if images.classes != self.train.classes:
                raise DataError(f"{self.name}: {part} has other classes than train")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.train.classes

    @property
    def route(self) -> str:
        """How the images came here, e.g. "vtab-folder"; results of different routes are not comparable."""
        return self.train.route

    @cached_property
    def trainval(self) -> ImageSet:
        """Training and validation images together, for the final run after a search."""
        return self.whole or self.train.join(self.val, f"{self.name}/trainval")

    def sets(self) -> dict[str, ImageSet]:
        """The three sets by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def with_sets(self, change: Callable[[ImageSet], ImageSet]) -> Task:
        """This task with `change` done to each of its sets, `whole` among them; all else stays."""
        whole = None if self.whole is None else change(self.whole)
        return replace(self, train=change(self.train), val=change(self.val), test=change(self.test), whole=whole)

    def verify(self, progress: Progress | None = None) -> None:
        """Decodes every image of the task once. Raises `DataError` listing all bad ones."""
        sets = [*self.sets().values(), *self._beyond()]
        total = sum(map(len, sets))
        faults: list[str] = []
        before = 0
        for images in sets:
            faults += images.faults(_after(before, total, progress))
            before += len(images)
        refuse(faults, total, self.name)

    def _beyond(self) -> list[ImageSet]:
        """The images of `whole` that are neither in train nor in val, as one set or none."""
        if self.whole is None:
            return []
        known = {images.describe(i) for images in (self.train, self.val) for i in range(len(images))}
        others = [i for i in range(len(self.whole)) if self.whole.describe(i) not in known]
        return [self.whole.subset(others)] if others else []

    def record(self) -> dict[str, Any]:
        """What a run writes down about its data (JSON-able): route, sizes, digests, splits and decoding rules.

        With `prepared_with` where the images were prepared.
        """
        facts = {
            "name": self.name,
            "route": self.route,
            "about": self.about,
            "classes": list(self.classes),
            "sizes": {part: len(images) for part, images in self.sets().items()},
            "digests": {part: images.digest() for part, images in self.sets().items()},
            "splits": dict(self.splits),
            "deviations": list(self.deviations),
            "decoding": dict(RULES),
        }
        return facts | ({"prepared_with": dict(self.prepared_with)} if self.prepared_with else {})


def _after(before: int, total: int, progress: Progress | None) -> Progress | None:
    """A set's progress as a part of the whole task's."""
    return progress and (lambda done, _: progress(before + done, total))
