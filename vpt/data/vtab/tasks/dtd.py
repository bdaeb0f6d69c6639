"""Describable Textures, first of its ten partitions."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

DTD = VtabTask(
    name="dtd",
    title="Describable Textures (DTD)",
    group="natural",
    classes=47,
    tfds="dtd:3.0.1",
    sizes={"train": (1880,), "validation": (1880,), "test": (1880,)},
    published="dtd",
    val=Slice("validation", 0, 200),
    torchvision="DTD",
    why="the key is `class/file` as in the lists of partition 1; classes are sorted by name; images are the files",
)
