"""What trainings cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.results import Cell


def done(records: Records, cells: Iterable[Cell]) -> list[Record]:
    """The records of the cells' finished trials."""
    return [found for cell in cells for trial in cell.trials if (found := records.done(trial.id)) is not None]


def training(records: Records, cells: Iterable[Cell]) -> float | None:
    """Seconds of one training, the median; None where nothing was trained."""
    every = [(record.get("cost") or {}).get("seconds_per_epoch") for record in done(records, cells)]
    return median([sum(epochs) for epochs in every if epochs])


def median(values: Iterable[float]) -> float | None:
    """None of no values."""
    every = list(values)
    return statistics.median(every) if every else None
