"""`resplit`: a task's images divided anew, for tasks whose training set is too small for the shots wanted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from vpt.data.fewshot import ValShots, too_few, val_shot_count
from vpt.data.imageset import ImageSet
from vpt.data.split import Indices, shuffled_by_class
from vpt.data.task import Task
from vpt.errors import DataError, OptionError, some


def resplit(task: Task, shots: int, val_shots: ValShots = "auto", seed: int = 0) -> Task:
    """Of each class `shots` images to train on and `val_shots` to validate with, drawn from all sets; the rest tests.

    Fewer shots and other seeds are then cut out of that training set, by `few_shot_task`, so that all of them share
    one test set. A class with too few images validates with fewer, so that one is left to test on. Where not even
    one is left for each, a `DataError` names all such classes; so it does with files of the same bytes. The task
    says in `splits` and `deviations` that the split is its own.
    """
    k = val_shot_count(val_shots, shots)
    if shots < 1 or k < 1:
        raise OptionError(f"resplit: {shots} training and {k} validation images; accepted: 1, 2, 3, ... per class")
    pool = task.train.join(task.val).join(task.test, f"{task.name}: train, val and test")
    _refuse_repeats(pool)
    by_class = shuffled_by_class(pool, seed, "resplit")
    if short := too_few(pool.classes, by_class, shots + 2):
        raise DataError(
            f"{pool.name}: {shots} images per class to train on, and one each to validate and test with, asked for, "
            f"but too few in: {', '.join(short)}"
        )
    drawn = zip(task.sets(), _divided(by_class, shots, k), strict=True)
    train, val, test = (pool.subset(np.sort(own)).named(f"{task.name}/{part}") for part, own in drawn)
    together = f"images per class of train, val and test together, seed {seed}"
    splits = {"train": f"{shots} {together}", "val": f"at most {k} {together}", "test": "all others"}
    own = f"the split is not the published one: drawn anew from all its images ({shots} and {k} per class, seed {seed})"
    return replace(task, train=train, val=val, test=test, whole=None, splits=splits, deviations=(*task.deviations, own))


def _divided(by_class: list[Indices], shots: int, k: int) -> tuple[Indices, Indices, Indices]:
    """The images of each class, shuffled, cut into train, val and test."""
    ends = [min(shots + k, len(own) - 1) for own in by_class]
    pairs = list(zip(by_class, ends, strict=True))
    train = np.concatenate([own[:shots] for own in by_class])
    val = np.concatenate([own[shots:end] for own, end in pairs])
    return train, val, np.concatenate([own[end:] for own, end in pairs])


def _refuse_repeats(pool: ImageSet) -> None:
    """No image may be there twice: its copies would be trained on and tested. Names do not tell, bytes do."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for i in range(len(pool)):
        places[pool.fingerprint(i)].append(i)
    copies = [own for own in places.values() if len(own) > 1]
    repeated = [" = ".join(dict.fromkeys(pool.describe(i) for i in own)) for own in copies]
    if repeated:
        raise DataError(f"{pool.name}: hold the same image more than once: {some(repeated)}")
