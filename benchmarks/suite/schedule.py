"""Which trials can be done now, and which of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.folder import FINISHED
from benchmarks.suite.settings import TOGETHER
from benchmarks.suite.trial import SEARCH, Point, Trial


@dataclass(frozen=True)
class Job:
    """Trials of one cell and stage that a worker does at one go, each with its point.

    together: as one computation, whose last bits depend on who takes part; so all do, even where a few are left over
    from an interruption. wanted: ids of the trials that are not finished.
    """

    trials: tuple[Trial, ...]
    points: tuple[Point, ...]
    together: bool
    wanted: tuple[str, ...]

    @property
    def left(self) -> tuple[Trial, ...]:
        """The wanted trials."""
        return tuple(trial for trial in self.trials if trial.id in self.wanted)


@dataclass
class Schedule:
    """The trials that are left of `trials`, given the records there are.

    A final trial without a point of its own waits until every search trial of its cell is finished.
    """

    trials: Sequence[Trial]
    records: dict[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        self._left = {t.id: t for t in self.trials if not self._finished(t.id)}
        self._searches: dict[tuple[str, str], list[Trial]] = {}
        for trial in self.trials:
            if trial.stage == SEARCH:
                self._searches.setdefault(trial.cell, []).append(trial)

    def _finished(self, trial: str) -> bool:
        return self.records.get(trial, {}).get("status") in FINISHED

    def __len__(self) -> int:
        return len(self._left)

    def take(self) -> Job | None:
        """The next job, or None where nothing can be done now."""
        for trial in self._left.values():
            if (point := self._point(trial)) is None:
                continue
            together = trial.method in TOGETHER and trial.shares_images
            mates = [t for t in self.trials if (t.cell, t.stage) == (trial.cell, trial.stage)] if together else [trial]
            wanted = tuple(mate.id for mate in mates if mate.id in self._left)
            for name in wanted:
                del self._left[name]
            return Job(tuple(mates), tuple(self._own(mate) or point for mate in mates), together, wanted)
        return None

    def put(self, record: Mapping[str, Any]) -> None:
        """Take in the record of a trial that was done, or failed."""
        self.records[record["id"]] = record

    def waiting(self) -> list[Trial]:
        """Final trials that cannot be done, since search trials of their cells failed."""
        return list(self._left.values())

    def _own(self, trial: Trial) -> Point | None:
        if trial.lr is None or trial.weight_decay is None:
            return None
        return Point(trial.lr, trial.weight_decay)

    def _point(self, trial: Trial) -> Point | None:
        if (own := self._own(trial)) is not None:
            return own
        searched = self._searches.get(trial.cell, [])
        if not searched or not all(self._finished(t.id) for t in searched):
            return None
        return best([self.records[t.id] for t in searched])


def best(records: Iterable[Mapping[str, Any]]) -> Point:
    """The point of the best accuracy on val at the last epoch; of equals, the smallest learning rate, then decay.

    Where every point diverged: the smallest one, whose final trials will say what becomes of it.
    """
    trials = [(r["trial"], (r.get("metrics") or {}).get("accuracy", -1.0)) for r in records]
    chosen = max(trials, key=lambda found: (found[1], -found[0]["lr"], -found[0]["weight_decay"]))[0]
    return Point(chosen["lr"], chosen["weight_decay"], tuple(sorted(trial["id"] for trial, _ in trials)))
