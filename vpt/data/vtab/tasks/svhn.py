"""Street View House Numbers, cropped."""

from __future__ import annotations

from fractions import Fraction

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

SVHN = VtabTask(
    name="svhn",
    title="SVHN (cropped)",
    group="natural",
    classes=10,
    tfds="svhn_cropped:3.0.0",
    sizes={"train": (73257,), "test": (26032,)},
    published="svhn",
    val=Slice("train", Fraction(9, 10), 200),
    lossless=True,
    versions={"3.1.0": "a feature `id` is added"},
    torchvision="SVHN",
    why="the key is the index in the .mat file; the label is the digit, 10 being 0",
)
