"""CLEVR: how many objects there are, and how far the nearest is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask
from vpt.data.vtab.tasks.thresholds import last_below

THRESHOLDS = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)


def count_label(example: Mapping[str, Any]) -> int:
    """The number of objects, from 3 on."""
    return len(example["objects"]["pixel_coords"]) - 3


def distance_label(example: Mapping[str, Any]) -> int:
    """The bin of the smallest third pixel coordinate, the depth, over all objects."""
    depths = np.asarray(example["objects"]["pixel_coords"], dtype=np.float32).reshape(-1, 3)[:, 2]
    return last_below(float(depths.min()), THRESHOLDS) if len(depths) else -1


_clevr = partial(
    VtabTask,
    group="structured",
    tfds="clevr:3.1.0",
    sizes={"train": (70000,), "validation": (15000,)},
    val=Slice("train", 63000, 200),
    test=Slice("validation"),
    reads=("objects",),
    lossless=True,
    versions={"3.0.0": "without questions and answers"},
    torchvision="CLEVRClassification",
)

CLEVR_COUNT = _clevr(
    name="clevr_count",
    title="CLEVR count",
    classes=8,
    label=count_label,
    published="clevr_count",
    why="the key is the file's name; objects are those of the scenes' JSON file; images are the files",
)

CLEVR_DIST = _clevr(
    name="clevr_dist",
    title="CLEVR distance",
    classes=6,
    label=distance_label,
    published="clevr_distance",
    why="the key is the file's name; depths are those of the scenes' JSON file, which lies beside torchvision's images",
)
