"""The tasks that are served by name; an answer is always of the version that its request was accepted with."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vpt.errors import OptionError, unknown
from vpt.serving.predictor import Predictor
from vpt.serving.task import Task

LONGEST = 200
"""Characters of a task's name; comparing longer ones would take long."""


def check_name(name: str) -> None:
    """Raise `OptionError` for a name that no request could ask for."""
    try:
        name.encode()
    except UnicodeEncodeError as error:  # a file's name of other bytes
        raise OptionError(f"task name {name!r}; accepted: names in UTF-8") from error
    if "," in name or name != name.strip() or not 1 <= len(name) <= LONGEST:
        raise OptionError(
            f"task name {name[:LONGEST]!r}; accepted: up to {LONGEST} characters without commas, which separate names "
            "in requests, and without outer blanks"
        )


@dataclass(frozen=True)
class Served:
    """One version of a task. key: the predictor's name for it, which no other version ever has."""

    name: str
    key: str
    version: int | None
    task: Task


class Catalogue:
    """Versions of tasks in a predictor; those that it has already are served under their names.

    A replaced or dropped version stays in the predictor until the last request that was accepted with it is answered.
    problems: by task, why it does not load. Safe from any thread.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Raises `OptionError` as `check_name` does."""
        for name in predictor.tasks:
            check_name(name)
        self._predictor = predictor
        self._served = {n: Served(n, n, None, predictor.task(n)) for n in predictor.tasks}
        self._users: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._lock = threading.Lock()
        self._number = itertools.count(1)
        self.problems: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Names of the tasks, sorted."""
        return [served.name for served in self.all()]

    def all(self) -> list[Served]:
        """What is served, sorted by name."""
        with self._lock:
            return [self._served[name] for name in sorted(self._served)]

    @property
    def bytes(self) -> int:
        """Memory of all tasks' tensors."""
        return sum(served.task.bytes for served in self.all())

    def get(self, name: str) -> Served:
        """What is served under a name. Raises `OptionError` for an unknown one."""
        with self._lock:
            return self._find(name)

    def put(self, name: str, folder: Path, version: int | None = None) -> bool:
        """Serve the task saved in `folder`, in the place of what has that name; whether the name is new.

        Raises as `check_name` and `Predictor.add` do; then all is as before.
        """
        check_name(name)
        key = f"{name}@{next(self._number)}"
        self._predictor.add(folder, name=key)
        with self._lock:
            before = self._served.get(name)
            self._served[name] = Served(name, key, version, self._predictor.task(key))
            self._retire(before)
        return before is None

    def drop(self, name: str) -> None:
        """Serve a task no longer. Raises `OptionError` for an unknown name."""
        with self._lock:
            self._retire(self._find(name))
            del self._served[name]

    @contextmanager
    def lease(self, names: Sequence[str]) -> Iterator[dict[str, Served]]:
        """The tasks by name, kept in the predictor meanwhile. Raises `OptionError` for an unknown name."""
        with self._lock:
            held = {name: self._find(name) for name in names}
            for served in held.values():
                self._predictor.task(served.key)  # or somebody took it from the predictor itself
            self._users.update(served.key for served in held.values())
        try:
            yield held
        finally:
            with self._lock:
                for served in held.values():
                    self._give_back(served.key)

    def _find(self, name: str) -> Served:
        if name not in self._served:
            raise unknown("task", name, self._served)
        return self._served[name]

    def _retire(self, served: Served | None) -> None:
        if served is None:
            return
        if self._users[served.key]:
            self._leaving.add(served.key)
        else:
            self._predictor.remove(served.key)

    def _give_back(self, key: str) -> None:
        self._users[key] -= 1
        if self._users[key]:
            return
        del self._users[key]
        if key in self._leaving:
            self._leaving.remove(key)
            self._predictor.remove(key)
