"""The files of a benchmark folder: the plan, a record per trial, what happened when; and the lock on all of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt.data.disk import is_full
from vpt.data.locks import hold
from vpt.errors import OptionError, TrainingError
from vpt.training.files import write_atomically

SCHEMA = 1
DONE, DIVERGED, FAILED = "done", "diverged", "failed"
FINISHED = (DONE, DIVERGED)
"""Statuses of trials that are not run again."""

DAMAGED = ".damaged"
"""What a record that cannot be read is called until it is made again."""


@dataclass(frozen=True)
class Folder:
    """`root` and what lies where in it; caches and checkpoints lie `elsewhere` where that is given."""

    root: Path
    elsewhere: Path | None = None

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def cache(self) -> Path:
        """Prepared images and what frozen parts give for them."""
        return self.elsewhere or self.root / "cache"

    @property
    def work(self) -> Path:
        """Checkpoints of unfinished trials."""
        return (self.elsewhere or self.root) / "work"

    def scratch(self, trial: str) -> Path:
        """Where a trial keeps its checkpoint until it is finished."""
        return self.work / trial

    def record(self, trial: str) -> Path:
        return self.trials / f"{trial}.json"

    def read(self, trial: str, *, repair: bool = False) -> dict[str, Any] | None:
        """The record of a trial, or None; a damaged one counts as none.

        repair: put a damaged one aside, since it will be made again. Raises `OptionError` for one of another schema.
        """
        path = self.record(trial)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            if repair:
                os.replace(path, path.with_suffix(DAMAGED))
            return None
        if found.get("schema") != SCHEMA:
            raise OptionError(f"{path} is of schema {found.get('schema')!r}; this version of vpt reads {SCHEMA}")
        return found

    def is_finished(self, trial: str) -> bool:
        """Whether a trial has a record that is not to be made again."""
        return (self.read(trial) or {}).get("status") in FINISHED

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a trial's record, whole or not at all. Raises `TrainingError` where the disk is full."""
        path = self.record(record["id"])
        with told_when_full(self.root):
            write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
        path.with_suffix(DAMAGED).unlink(missing_ok=True)

    def note(self, event: str, **facts: Any) -> None:
        """Append a line to `events.jsonl`."""
        line = json.dumps({"time": timestamp(), "event": event, **facts}) + "\n"
        with told_when_full(self.root), open(self.root / "events.jsonl", "a", encoding="utf-8") as file:
            file.write(line)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run. Raises `OptionError` naming the process that has it already."""
        path = self.root / ".lock"
        try:
            with hold(path, wait=False):
                with told_when_full(self.root):
                    path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {timestamp()}")
                yield
        except BlockingIOError as error:
            holder = _text(path) or "another process"
            raise OptionError(f"{self.root} is in use by {holder}; wait for it, or give another --out") from error


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """A full disk as a `TrainingError` that says what is safe; other errors as they are."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise TrainingError(
            f"the disk of {folder} is full; what is finished there is safe: make room and run the same command again"
        ) from error


def _text(path: Path) -> str:
    """The content of a file that may have gone meanwhile."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def timestamp() -> str:
    """Now, as in `2026-11-25T14:40:00+0000`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def forget(folder: Path) -> None:
    """Delete the scratch folder of a finished trial."""
    shutil.rmtree(folder, ignore_errors=True)
