"""Base-to-new generalisation: train on the first half of a task's classes, score each half among its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from vpt.data.task import Task
from vpt.errors import DataError, OptionError

Half = Literal["base", "new"]


def base_to_new(task: Task) -> tuple[Task, Task]:
    """The task of the first ceil(C / 2) classes and that of the others, each with labels from 0 in the old order.

    Raises `DataError` for a task of one class, and where a half has no image in one of the sets.
    """
    return half_of(task, "base"), half_of(task, "new")


def half_of(task: Task, half: Half) -> Task:
    """One of the two tasks of `base_to_new`."""
    count = len(task.classes)
    if count < 2:
        raise DataError(f"{task.name}: has the single class {task.classes[0]!r}; base and new need two or more")
    middle = (count + 1) // 2
    chosen = range(middle) if half == "base" else range(middle, count)
    _refuse_empty(task, half, chosen)
    halved = task.with_sets(lambda images: images.of_classes(chosen).named(f"{images.name}, {half} classes"))
    taken = f"of it the {half} classes, {chosen.start} to {chosen.stop - 1} of 0 to {count - 1}"
    sets = task.splits or dict.fromkeys(task.sets(), "its own")
    splits = {part: f"{words}; {taken}" for part, words in sets.items()}
    return replace(halved, name=f"{task.name}-{half}", splits=splits)


def harmonic_mean(base: float, new: float) -> float:
    """H of the accuracies on base and new classes, in their unit; 0 where one is 0."""
    if base < 0 or new < 0:
        raise OptionError(f"accuracies {base} and {new}; accepted: 0 and above")
    return 2 * base * new / (base + new) if base and new else 0.0


def _refuse_empty(task: Task, half: str, chosen: Sequence[int]) -> None:
    empty = [part for part, images in task.sets().items() if not np.isin(images.labels, chosen).any()]
    if empty:
        raise DataError(f"{task.name}: no image of a {half} class in: {', '.join(empty)}")
