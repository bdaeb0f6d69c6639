"""Tasks with few images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vpt.data.vtab import TASKS, Slice, VtabTask

Shrink = Callable[..., VtabTask]


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch) -> Shrink:
    """`shrink(name, sizes, train=, val=, test=)`: the task with other sizes and slices, until the test ends."""

    def replaced(name: str, sizes: dict[str, int], **slices: Slice) -> VtabTask:
        changes: dict[str, Any] = {"sizes": {split: (n,) for split, n in sizes.items()}, **slices}
        monkeypatch.setitem(TASKS, name, replace(TASKS[name], **changes))
        return TASKS[name]

    return replaced
