"""Oxford-IIIT Pet."""

from __future__ import annotations

from fractions import Fraction

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

PETS = VtabTask(
    name="oxford_iiit_pet",
    title="Oxford-IIIT Pet",
    group="natural",
    classes=37,
    tfds="oxford_iiit_pet:3.2.0",
    sizes={"train": (3680,), "test": (3669,)},
    published="pets",
    val=Slice("train", Fraction(8, 10), 200),
    versions={"4.0.0": "twelve faulty files are encoded anew as JPEG"},
    torchvision="OxfordIIITPet",
    why="the key is the file's name; splits and labels are those of trainval.txt and test.txt; images are the files",
    aliases=("pet", "oxford_pets"),
)
