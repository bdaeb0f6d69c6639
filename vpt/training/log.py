"""What a run tells while it goes: a small base class of no-ops, a group, and the file that is always written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vpt.training.batches import Labelled
from vpt.training.config import FitConfig
from vpt.training.files import write_atomically
from vpt.training.versions import versions


@dataclass(frozen=True)
class Run:
    """What a logger may look at. `first_epoch` epochs were done before (0 unless `resumed`)."""

    model: nn.Module
    train: Labelled
    val: Labelled | None
    config: FitConfig
    classes: tuple[str, ...]
    first_epoch: int
    steps_per_epoch: int
    resumed: bool


class Logger:
    """Hears of a run and changes nothing in it: not the model, its modes, nor any random generator.

    `epoch` and `step` in a row count what is done, from 1. `close` may come at any time, more than once.
    """

    def start(self, run: Run) -> None:
        """The run begins, or goes on."""

    def step(self, row: dict[str, Any]) -> None:
        """An optimiser step is done: epoch, step, loss, lr, grad_norm."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done: epoch, step, lr and the metrics."""

    def note(self, text: str) -> None:
        """Something a person should know; may come before `start`."""

    def finish(self) -> None:
        """The last epoch is done and saved."""

    def close(self) -> None:
        """The run is over, for whatever reason."""


class Group(Logger):
    """Tells every one of several loggers."""

    def __init__(self, members: Sequence[Logger]) -> None:
        self.members = tuple(members)

    def start(self, run: Run) -> None:
        for member in self.members:
            member.start(run)

    def step(self, row: dict[str, Any]) -> None:
        for member in self.members:
            member.step(row)

    def epoch(self, row: dict[str, Any]) -> None:
        for member in self.members:
            member.epoch(row)

    def note(self, text: str) -> None:
        for member in self.members:
            member.note(text)

    def finish(self) -> None:
        for member in self.members:
            member.finish()

    def close(self) -> None:
        for member in self.members:
            member.close()


class JsonLines(Logger):
    """`metrics.jsonl`: an object per line, its kind under "event". A resumed run drops rows after its checkpoint."""

    def __init__(self, path: Path, every: int = 1) -> None:
        self.path, self.every = path, every

    def start(self, run: Run) -> None:
        kept = [row for row in read_rows(self.path) if row.get("epoch", 0) <= run.first_epoch] if run.resumed else []
        write_atomically(self.path, "".join(_line(row) for row in kept))
        self._write(
            "start",
            {
                "epochs_done": run.first_epoch,
                "config": run.config.to_dict(),
                "train_images": len(run.train),
                "val_images": 0 if run.val is None else len(run.val),
                "classes": len(run.classes),
                "versions": versions(),
            },
        )

    def step(self, row: dict[str, Any]) -> None:
        if row["step"] % self.every == 0:
            self._write("step", row)

    def epoch(self, row: dict[str, Any]) -> None:
        self._write("epoch", row)

    def note(self, text: str) -> None:
        self._write("note", {"text": text})

    def _write(self, event: str, row: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:  # opened per line: nothing is lost, nothing to close
            file.write(_line({"event": event, **{name: _finite(value) for name, value in row.items()}}))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last line that a kill cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _finite(value: Any) -> Any:
    """None for NaN and infinity, for which JSON has no word: a gradient that a loss scaler skips."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"  # ASCII alone: no character that a kill can cut, nor one that ends a line elsewhere
