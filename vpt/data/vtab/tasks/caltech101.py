"""Caltech101, its background class included."""

from __future__ import annotations

from fractions import Fraction

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

CALTECH101 = VtabTask(
    name="caltech101",
    title="Caltech101",
    group="natural",
    classes=102,
    tfds="caltech101:3.0.1",
    # 30 files of each class are drawn for train; one class holds a file that is no image, which may be among them.
    sizes={"train": (3059, 3060), "test": (6085, 6084)},
    published="caltech101",
    val=Slice("train", Fraction(9, 10), 200),
    versions={"3.0.2": "another download address"},
    caveats=(
        "TFDS draws its training images from the files in the order in which the file system lists them, so that "
        "copies built on different machines may divide train and test differently",
    ),
    why="TFDS draws train from test by the order in which a file system lists the files, which no copy keeps, and "
    "torchvision leaves out the background class",
)
