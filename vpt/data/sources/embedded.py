"""The tasks that need no download: handwritten digits and rendered shapes (`vpt.data.embedded`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vpt.data.embedded import TASKS
from vpt.data.sources.options import Count, Seed
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.errors import OptionError, unknown


def _check(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    if name is None:
        yield f"source 'embedded' needs name: one of {', '.join(sorted(TASKS))}"
    elif name not in TASKS:
        yield str(unknown("embedded task", name, TASKS))


@source("embedded", _check, lambda root: [*TASKS])
def load(
    root: Path | None,
    name: str | None,
    *,
    train: Count = 800,
    val: Count = 200,
    test: Count | None = None,
    split_seed: Seed = 0,
) -> Task:
    """`name` is one of `vpt.data.embedded.TASKS`; `train`, `val` and `test` are numbers of images.

    `split_seed` seeds the split of the digits, and the drawing of the rendered tasks.
    """
    if root is not None:
        raise OptionError(f"source 'embedded' lies inside the package and takes no root; got {root}")
    sizes: dict[str, Any] = {"train": train, "val": val} | ({} if test is None else {"test": test})
    return TASKS[str(name)](**sizes, split_seed=split_seed)
