"""Small NORB: from which side and from how high a toy was taken."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from typing import Any

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask


def azimuth_label(example: Mapping[str, Any]) -> int:
    """One of 18 directions, 20 degrees apart."""
    return int(example["label_azimuth"])


def elevation_label(example: Mapping[str, Any]) -> int:
    """One of 9 heights, 5 degrees apart."""
    return int(example["label_elevation"])


_smallnorb = partial(
    VtabTask,
    group="structured",
    tfds="smallnorb:2.0.0",
    sizes={"train": (24300,), "test": (24300,)},
    val=Slice("test", 0, 200),
    test=Slice("test", Fraction(1, 2)),
    lossless=True,
    versions={"2.1.0": "a feature `id` is added"},
    why="torchvision has no small NORB",
)

SMALLNORB_AZI = _smallnorb(
    name="smallnorb_azi",
    title="sNORB azimuth",
    classes=18,
    label=azimuth_label,
    reads=("label_azimuth",),
    published="smallnorb_azimuth",
)

SMALLNORB_ELE = _smallnorb(
    name="smallnorb_ele",
    title="sNORB elevation",
    classes=9,
    label=elevation_label,
    reads=("label_elevation",),
    published="smallnorb_elevation",
)
