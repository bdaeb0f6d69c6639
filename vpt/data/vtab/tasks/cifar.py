"""CIFAR-100."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

CIFAR = VtabTask(
    name="cifar",
    title="CIFAR-100",
    group="natural",
    classes=100,
    tfds="cifar100:3.0.2",
    sizes={"train": (50000,), "test": (10000,)},
    published="cifar100",
    val=Slice("train", 45000, 200),
    lossless=True,
    torchvision="CIFAR100",
    why="the key is the index in the file, and the Python and binary archives list the same images in the same order",
)
