"""What a person sees while a plan is executed: a bar on a terminal, a line per trial elsewhere (on standard error)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.suite.folder import DONE
from benchmarks.suite.trial import SEARCH


class Watch:
    """Nobody watches; the base of those who do."""

    def start(self, total: int, found: int) -> None:
        """`found` of `total` trials are finished already."""

    def trial(self, record: Mapping[str, Any]) -> None:
        """A trial has ended."""

    def close(self) -> None:
        """All is over, for whatever reason; may come more than once."""


def story(record: Mapping[str, Any]) -> str:
    """A trial in a line: `cifar deep, lr 0.5, seed 42: val 71.3% (34 s)`."""
    trial, seconds = record["trial"], record["cost"]["seconds"]
    searching = trial["stage"] == SEARCH
    what = f"lr {trial['lr']:g}, weight decay {trial['weight_decay']:g}" if searching else trial["stage"]
    name = f"{trial['task']} {trial['variant']}, {what}, seed {trial['seed']}"
    if record["status"] == DONE:
        return f"{name}: {record['measured_on']} {record['metrics']['accuracy']:.1%} ({seconds:.1f} s)"
    return f"{name}: {record['status']}: {record['reason']}"


class Lines(Watch):
    """A line per trial, with how much is left."""

    def start(self, total: int, found: int) -> None:
        self.total, self.ended, self.found, self.began = total, found, found, time.monotonic()
        left = f", {found} of them finished before" if found else ""
        print(f"{total} trials{left}", file=sys.stderr, flush=True)

    def trial(self, record: Mapping[str, Any]) -> None:
        self.ended += 1
        pace = (time.monotonic() - self.began) / (self.ended - self.found)
        left = f", about {(self.total - self.ended) * pace / 60:.0f} min left" if self.ended < self.total else ""
        print(f"[{self.ended}/{self.total}{left}] {story(record)}", file=sys.stderr, flush=True)


class Bar(Watch):
    """A bar over all trials; those that did not succeed are told above it."""

    def start(self, total: int, found: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.bar.start()
        self.row = self.bar.add_task("trials", total=total, completed=found)

    def trial(self, record: Mapping[str, Any]) -> None:
        if record["status"] != DONE:
            self.bar.console.print(story(record), markup=False, highlight=False)
        self.bar.update(self.row, advance=1, description=story(record))

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()


def watching(quiet: bool = False) -> Watch:
    """A `Bar` on a terminal, `Lines` elsewhere, nothing where it is to be quiet."""
    if quiet:
        return Watch()
    return Bar() if sys.stderr.isatty() else Lines()
