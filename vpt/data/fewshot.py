"""Few-shot subsets: k images of every class, and the published protocol for a whole task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from vpt.data.imageset import ImageSet
from vpt.data.split import Indices, shuffled_by_class
from vpt.data.task import Task
from vpt.errors import DataError, OptionError, some

ValShots = int | Literal["auto"]
"""Validation images per class: a number, or "auto", the protocol's min(shots, 4)."""

AUTO_VAL_SHOTS = 4


def few_shot(images: ImageSet, k: int, seed: int = 0) -> ImageSet:
    """`k` images of each class, drawn by `seed`, in their old order; with one seed, fewer shots are a subset of more.

    Raises `DataError` naming every class that has fewer than `k`.
    """
    if k < 1:
        raise OptionError(f"shots {k} is not accepted; accepted: 1, 2, 3, ... images per class")
    by_class = shuffled_by_class(images, seed, "shots")
    if short := too_few(images.classes, by_class, k):
        raise DataError(f"{images.name}: {k} images per class asked for, but too few in: {', '.join(short)}")
    return _first(images, by_class, k).named(f"{images.name}, {k} shots, seed {seed}")


def few_shot_task(task: Task, shots: int, seed: int = 0, val_shots: ValShots | None = None) -> Task:
    """`shots` training images of each class, `val_shots` validation images (None: all), the whole test set.

    This is CoOp's protocol (arXiv:2109.01134) with `val_shots="auto"`; which images a seed draws is vpt's own.
    A class with fewer validation images than that gives those it has, and `splits` says so; one with fewer training
    images than `shots` is a `DataError` that names all such classes.
    """
    splits = _words(task, "train", shots, seed)
    cut = replace(task, train=few_shot(task.train, shots, seed), whole=None, splits=splits)
    return cut if val_shots is None else with_val_shots(cut, val_shot_count(val_shots, shots), seed)


def val_shot_count(val_shots: ValShots, shots: int) -> int:
    """The number that `val_shots` means beside so many training `shots`."""
    return min(shots, AUTO_VAL_SHOTS) if val_shots == "auto" else val_shots


def with_val_shots(task: Task, k: int, seed: int = 0) -> Task:
    """The task with at most `k` validation images of each class, all that there are where they are fewer."""
    if k < 1:
        raise OptionError(f"val_shots {k} is not accepted; accepted: 1, 2, 3, ... images per class")
    by_class = shuffled_by_class(task.val, seed, "val shots")
    short = too_few(task.classes, by_class, k)
    splits = _words(task, "val", k, seed, f"; fewer in: {some(short)}" if short else "")
    val = _first(task.val, by_class, k).named(f"{task.val.name}, {k} shots, seed {seed}")
    return replace(task, val=val, whole=None, splits=splits)


def too_few(classes: Sequence[str], by_class: Sequence[Indices], k: int) -> list[str]:
    """`name (what it has)` for every class with fewer than `k` images."""
    return [f"{name} ({len(own)})" for name, own in zip(classes, by_class, strict=True) if len(own) < k]


def _first(images: ImageSet, by_class: Sequence[Indices], k: int) -> ImageSet:
    return images.subset(np.sort(np.concatenate([members[:k] for members in by_class])))


def _words(task: Task, part: str, k: int, seed: int, exceptions: str = "") -> dict[str, str]:
    """The task's `splits` with `part` drawn from what it was; a source's own train and val together is no more."""
    words = f"{k} images per class of {task.splits.get(part, part)}, seed {seed}{exceptions}"
    return {name: told for name, told in task.splits.items() if name in task.sets()} | {part: words}
