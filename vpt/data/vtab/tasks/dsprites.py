"""dSprites: where a shape is, and how it is turned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from vpt.data.decode import Pixels
from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

BINS = 16


def location_label(example: Mapping[str, Any]) -> int:
    """The x position, 32 values, in 16 bins of 2."""
    return int(example["label_x_position"]) * BINS // 32


def orientation_label(example: Mapping[str, Any]) -> int:
    """The orientation, 40 values, in 16 bins of 2.5: floor(v / 2.5), in whole numbers."""
    return int(example["label_orientation"]) * BINS // 40


def to_255(image: Pixels) -> Pixels:
    """The stored 0 and 1 as black and white."""
    return image * np.uint8(255)


_dsprites = partial(
    VtabTask,
    group="structured",
    classes=BINS,
    tfds="dsprites:2.0.0",
    sizes={"train": (737280,)},
    val=Slice("train", 589824, 200),
    test=Slice("train", 663552),
    image=to_255,
    lossless=True,
    versions={"2.1.0": "a feature `id` is added"},
    why="torchvision has no dSprites",
)

DSPRITES_LOC = _dsprites(
    name="dsprites_loc",
    title="dSprites x position",
    label=location_label,
    reads=("label_x_position",),
    published="dsprites_location",
    aliases=("dsprites_position", "dsprites_x_position"),
)

DSPRITES_ORI = _dsprites(
    name="dsprites_ori",
    title="dSprites orientation",
    label=orientation_label,
    reads=("label_orientation",),
    published="dsprites_orientation",
)
