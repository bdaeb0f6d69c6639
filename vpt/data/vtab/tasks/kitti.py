"""KITTI: how far the nearest vehicle is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask
from vpt.data.vtab.tasks.thresholds import last_below

THRESHOLDS = (-100.0, 8.0, 20.0, 999.0)
NOTHING = 1000.0
"""The distance (metres) where there is no vehicle, or only farther ones."""


def distance_label(example: Mapping[str, Any]) -> int:
    """The bin of the smallest z over cars, vans and trucks (types 0, 1, 2)."""
    objects = example["objects"]
    vehicles = np.asarray(objects["type"]).reshape(-1) < 3
    z = np.asarray(objects["location"], dtype=np.float32).reshape(-1, 3)[vehicles, 2]
    return last_below(float(z.min(initial=NOTHING)), THRESHOLDS)


KITTI = VtabTask(
    name="kitti",
    title="KITTI distance",
    group="structured",
    classes=4,
    tfds="kitti:3.2.0",
    sizes={"train": (6347,), "validation": (423,), "test": (711,)},
    published="kitti",
    val=Slice("validation", 0, 200),
    label=distance_label,
    reads=("objects",),
    lossless=True,
    versions={"3.1.0": "an older devkit", "3.3.0": "names for the feature `occluded`"},
    why="TFDS divides the images by the videos they come from, which are listed in a devkit that torchvision lacks",
    aliases=("kitti_distance", "kitti_dist"),
)
