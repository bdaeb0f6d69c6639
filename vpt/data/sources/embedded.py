"""The tasks that need no download: handwritten digits and rendered shapes (`vpt.data.embedded`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpt.data.embedded import TASKS
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.errors import OptionError, unknown


@source("embedded")
def load(
    root: Path | None,
    name: str | None,
    *,
    train: int = 800,
    val: int = 200,
    test: int | None = None,
    split_seed: int = 0,
) -> Task:
    """`name` is one of `vpt.data.embedded.TASKS`; `train`, `val` and `test` are numbers of images.

    `split_seed` seeds the split of the digits, and the drawing of the rendered tasks.
    """
    if root is not None:
        raise OptionError(f"source 'embedded' lies inside the package and takes no root; got {root}")
    if name not in TASKS:
        raise unknown("embedded task", str(name), TASKS)
    sizes: dict[str, Any] = {"train": train, "val": val} | ({} if test is None else {"test": test})
    wrong = [f"{part}={size!r}" for part, size in sizes.items() if not isinstance(size, int) or size < 1]
    if wrong or split_seed < 0:
        raise OptionError(f"embedded tasks take whole numbers of images from 1; got {', '.join(wrong) or split_seed}")
    return TASKS[name](**sizes, split_seed=split_seed)
