"""Oxford Flowers-102."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

FLOWERS = VtabTask(
    name="oxford_flowers102",
    title="Oxford Flowers-102",
    group="natural",
    classes=102,
    tfds="oxford_flowers102:2.1.1",
    sizes={"train": (1020,), "validation": (1020,), "test": (6149,)},
    published="flowers102",
    val=Slice("validation", 0, 200),
    torchvision="Flowers102",
    why="the key is the file's name; splits and labels are in setid.mat and imagelabels.mat; images are the files",
    aliases=("flowers", "oxford_flowers"),
)
