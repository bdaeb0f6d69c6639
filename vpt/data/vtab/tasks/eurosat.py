"""EuroSAT, its RGB images."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

EUROSAT = VtabTask(
    name="eurosat",
    title="EuroSAT (RGB)",
    group="specialized",
    classes=10,
    tfds="eurosat/rgb:2.0.0",
    sizes={"train": (27000,)},
    published="eurosat",
    val=Slice("train", 16200, 200),
    test=Slice("train", 21600),
    torchvision="EuroSAT",
    why="the key is `class_file`; classes are sorted by name; images are the files of the same archive",
)
