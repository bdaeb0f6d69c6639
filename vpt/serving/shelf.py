"""The tasks in memory by name; those not used for longest wait in host memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

from vpt.errors import OptionError, unknown
from vpt.serving.task import Task

HOST = torch.device("cpu")


class Shelf:
    """Tasks by name; any thread may add, drop and take.

    device: where they are used. resident: most tasks that stay there; None for all.
    """

    def __init__(self, device: torch.device, resident: int | None = None) -> None:
        if resident is not None and (not isinstance(resident, int) or isinstance(resident, bool) or resident < 1):
            raise OptionError(f"resident is {resident!r}; accepted: a number of tasks from 1, or None for all")
        self._device, self._resident = device, resident
        self._tasks: dict[str, Task] = {}
        self._used: dict[str, None] = {}  # the resident ones, least recently used first
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names in the order in which they were added."""
        with self._lock:
            return list(self._tasks)

    @property
    def resident(self) -> list[str]:
        """Names of the tasks on the device, least recently used first."""
        with self._lock:
            return list(self._used)

    def put(self, name: str, task: Task) -> None:
        """Add a task, or put it in the place of the one of that name."""
        with self._lock:
            self._tasks[name] = task
            self._touch(name)
            self._make_room(keep=(name,))

    def drop(self, name: str) -> None:
        """Forget a task; passes that have it go on. Raises `OptionError` for an unknown name."""
        with self._lock:
            self._check([name])
            del self._tasks[name]
            self._used.pop(name, None)

    def get(self, name: str) -> Task:
        """A task where it is. Raises `OptionError` for an unknown name."""
        with self._lock:
            self._check([name])
            return self._tasks[name]

    def take(self, names: Sequence[str]) -> list[Task]:
        """Tasks on the device. Raises `OptionError` for an unknown name; nothing is moved then."""
        with self._lock:
            self._check(names)
            for name in names:
                if name not in self._used:
                    self._tasks[name] = self._tasks[name].to(self._device)
                self._touch(name)
            found = [self._tasks[name] for name in names]
            self._make_room(keep=names)
            return found

    def make_room(self) -> None:
        """Move to host memory what a pass kept beyond `resident`."""
        with self._lock:
            self._make_room()

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._tasks:
                raise unknown("task", name, self._tasks)

    def _touch(self, name: str) -> None:
        self._used.pop(name, None)
        self._used[name] = None

    def _make_room(self, keep: Sequence[str] = ()) -> None:
        """Move to host memory what was not used for longest, but for what is in use now."""
        excess = 0 if self._resident is None else len(self._used) - self._resident
        for name in [n for n in self._used if n not in keep][: max(0, excess)]:
            del self._used[name]
            self._tasks[name] = self._tasks[name].to(HOST)
