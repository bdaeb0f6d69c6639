"""A task in VTAB's folder layout, of a few small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("train800", "val200", "test")


def vtab_folder(root: Path, task: str, sizes: tuple[int, int, int] = (8, 4, 4), label: int = 1) -> Path:
    """Write `root/task` with three classes, the second image of each list with the given label; answers `root`."""
    where = root / task
    (where / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {}
    for part, count in zip(PARTS, sizes, strict=True):
        for i in range(count):
            name = f"images/{part}-{i}.png"
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(where / name)
            lists.setdefault(part, []).append(f"{name} {label if i == 1 else i % 3}")
        (where / f"{part}.txt").write_text("\n".join(lists[part]) + "\n")
    (where / "train800val200.txt").write_text("\n".join(lists["train800"] + lists["val200"]) + "\n")
    return root
