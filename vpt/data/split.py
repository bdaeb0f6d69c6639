"""Seeded, stratified divisions of an image set. Under the same label a class has the same draw, whichever
other classes there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vpt.data.imageset import ImageSet
from vpt.data.task import Task
from vpt.errors import DataError, OptionError

Indices = NDArray[np.int64]


def shuffled_by_class(images: ImageSet, seed: int, purpose: str) -> list[Indices]:
    """For each class the indices of its images, shuffled by (seed, purpose, class)."""
    if seed < 0:
        raise OptionError(f"seed {seed} is negative; accepted: 0, 1, 2, ...")
    tag = int.from_bytes(purpose.encode(), "little")
    return [
        np.random.default_rng([tag, seed, c]).permutation(np.flatnonzero(images.labels == c))
        for c in range(len(images.classes))
    ]


def hold_out(images: ImageSet, fraction: float, seed: int, purpose: str) -> tuple[ImageSet, ImageSet]:
    """Divides into (kept, held out): of each class `fraction`, rounded, but at least one image on either side.

    Raises `DataError` naming the classes that have a single image.
    """
    if not 0 < fraction < 1:
        raise OptionError(f"{purpose}_fraction {fraction} is not between 0 and 1")
    by_class = shuffled_by_class(images, seed, purpose)
    single = [images.classes[c] for c, members in enumerate(by_class) if len(members) == 1]
    if single:
        raise DataError(f"{images.name}: no {purpose} split of classes with a single image: {', '.join(single)}")
    held: list[int] = []
    for members in by_class:
        held += members[: int(np.clip(round(fraction * len(members)), 1, max(len(members) - 1, 0)))].tolist()
    kept = np.setdiff1d(np.arange(len(images)), held)
    return images.subset(kept), images.subset(np.sort(np.array(held, dtype=np.int64)))


def complete(
    name: str,
    train: ImageSet,
    val: ImageSet | None = None,
    test: ImageSet | None = None,
    *,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    about: str = "",
) -> Task:
    """A task from what a source has: a missing test set is held out of train, then a missing validation set."""
    splits = {"train": train.name, "val": val.name if val else "", "test": test.name if test else ""}
    if test is None:
        train, test = hold_out(train, test_fraction, split_seed, "test")
        splits["test"] = f"{test_fraction} of each class of {train.name}, seed {split_seed}"
    if val is None:
        train, val = hold_out(train, val_fraction, split_seed, "val")
        left = "" if splits["test"] == test.name else " left by test"
        splits["val"] = f"{val_fraction} of each class of {train.name}{left}, seed {split_seed}"
    train, val, test = (images.named(f"{name}/{part}") for part, images in zip(splits, (train, val, test), strict=True))
    return Task(name, train, val, test, about=about, splits=splits)
