"""DMLab frames."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

DMLAB = VtabTask(
    name="dmlab",
    title="DMLab",
    group="structured",
    classes=6,
    tfds="dmlab:2.0.1",
    sizes={"train": (65550,), "validation": (22628,), "test": (22735,)},
    published="dmlab",
    val=Slice("validation", 0, 200),
    why="torchvision has no DMLab",
)
