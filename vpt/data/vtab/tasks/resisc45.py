"""NWPU-RESISC45."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

RESISC45 = VtabTask(
    name="resisc45",
    title="Resisc45",
    group="specialized",
    classes=45,
    tfds="resisc45:3.0.0",
    sizes={"train": (31500,)},
    published="resisc45",
    val=Slice("train", 18900, 200),
    test=Slice("train", 25200),
    manual=(
        "download NWPU-RESISC45.rar from https://1drv.ms/u/s!AmgKYzARBl5ca3HNaHIlzp_IXjs and unpack it, so that the "
        "45 class folders are <root>/downloads/manual/NWPU-RESISC45/<class>/"
    ),
    why="torchvision has no Resisc45",
)
