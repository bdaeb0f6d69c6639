"""VTAB-1K's exact splits out of torchvision's files, for the tasks where these determine them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source
from vpt.data.sources.vtab_originals import Original, labels_at, read
from vpt.data.task import Task
from vpt.data.vtab.agreement import require
from vpt.data.vtab.order import tfds_order
from vpt.data.vtab.slices import Slice
from vpt.data.vtab.table import TASKS, get, name_faults


def _check(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the name, and the reason where torchvision's files do not determine the task."""
    faults = list(name_faults(name, further))
    yield from faults
    if not faults and not get(str(name)).torchvision:
        able = ", ".join(task.name for task in TASKS.values() if task.torchvision)
        yield f"source 'vtab-torchvision' cannot give {name}: {get(str(name)).why}; use source 'tfds'. It gives: {able}"


@source("vtab-torchvision", _check, lambda root: [*TASKS])
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """`root` is the folder given to torchvision's class, `name` a task of VTAB-1K. Nothing is downloaded.

    The examples are put into TFDS' order by its own rule, the hashes of their keys, and then cut by VTAB-1K's slices.
    Raises `OptionError` with the reason for tasks that torchvision's files do not determine.
    """
    spec = get(str(name))
    folder = needs_folder("vtab-torchvision", root)

    @cache
    def ordered(split: str) -> tuple[Original, NDArray[np.int64]]:
        original = read(folder, split, spec, max_pixels)
        return original, tfds_order(split, original.keys)

    def images(part: str, piece: Slice) -> ImageSet:
        original, order = ordered(piece.split)
        chosen = order[piece.positions(len(order))]
        classes = [str(c) for c in range(spec.classes)]
        labels = labels_at(original, chosen)
        return ImageSet(f"{spec.name}/{part}", classes, labels, original.pictures, "vtab-torchvision", chosen)

    task = Task(
        spec.name,
        images("train", spec.train),
        images("val", spec.val),
        images("test", spec.test),
        about=f"torchvision.datasets.{spec.torchvision} in TFDS' order: {spec.why}",
        splits={part: f"{spec.tfds} {piece}" for part, piece in spec.slices().items()},
    )
    require(task, spec)
    return task
