"""PatchCamelyon."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

PATCH_CAMELYON = VtabTask(
    name="patch_camelyon",
    title="PatchCamelyon",
    group="specialized",
    classes=2,
    tfds="patch_camelyon:2.0.0",
    sizes={"train": (262144,), "validation": (32768,), "test": (32768,)},
    published="patch_camelyon",
    val=Slice("validation", 0, 200),
    lossless=True,
    torchvision="PCAM",
    why="the key is `file part_index` in the same .h5 files; labels and pixels are read from them unchanged",
    aliases=("pcam", "camelyon"),
)
