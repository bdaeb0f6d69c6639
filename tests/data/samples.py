"""Pictures and folders of pictures, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vpt.data import ImageSet, Task

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "vtab-1k"
needs_real = pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not on this machine")


def picture(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    """A smooth random image `uint8 [H, W, 3]`, so that lossy formats stay close to it."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def write_folders(root: Path, counts: dict[str, int], suffix: str = "png", first: int = 0) -> Path:
    """`root/<class>/<n>.png` for each class; all pictures differ, also from those of a `first` far from this one."""
    seed = first + (len(list(root.rglob(f"*.{suffix}"))) if root.exists() else 0)
    for c, n in counts.items():
        (root / c).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(picture(seed := seed + 1)).save(root / c / f"{i:03d}.{suffix}")
    return root


def of_source(task: Task) -> dict[str, Any]:
    """A task's record without what its preparation adds: who made the pixels, and that sets share images."""
    record = {key: value for key, value in task.record().items() if key != "prepared_with"}
    return record | {"deviations": [line for line in task.deviations if not line.endswith("byte for byte")]}


def pixels_of(name: str, labels: Sequence[int], classes: int) -> ImageSet:
    """An image set called `name`, whose images are single pixels that no other image in it has."""
    images = [np.full((1, 1, 3), [i // 256, i % 256, len(name)], np.uint8) for i in range(len(labels))]
    return ImageSet.from_arrays(images, labels, [f"class {c}" for c in range(classes)], name)


def pixel_task(*counts: tuple[int, int, int]) -> Task:
    """A task whose class c has `counts[c]` images in train, val and test; no two of its images have one name."""
    sets = []
    for part, own in zip(("train", "val", "test"), zip(*counts, strict=True), strict=True):
        sets.append(pixels_of(part, [c for c, n in enumerate(own) for _ in range(n)], len(counts)))
    return Task("pixels", *sets)


def names_in(images: ImageSet) -> list[str]:
    """What the images are called, in order."""
    return [images.describe(i) for i in range(len(images))]
