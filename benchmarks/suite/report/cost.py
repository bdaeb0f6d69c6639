"""What a variant costs: parameters, time, memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.results import Row
from benchmarks.suite.trial import SEARCH


@dataclass(frozen=True)
class Cost:
    """Medians over the finished final trials of a variant; None where no record says it.

    trained, bare: parameters that are learned, with the head and without; every: those of the whole model.
    run, epoch: seconds. memory: the largest peak in bytes. searching, training: seconds of all its trials, whatever
    became of them. together: the most trials that shared one computation, whose time was divided among them.
    """

    trained: float | None
    bare: float | None
    every: float | None
    run: float | None
    epoch: float | None
    memory: float | None
    searching: float
    training: float
    together: int


def cost_of(records: Records, row: Row) -> Cost:
    """The cost of one row of the table."""
    finals = [record for cell in row.cells for seed in cell.seeds if (record := records.done(seed.trial))]
    per_task = [_parameters(cell_records) for cell in row.cells
                if (cell_records := [r for s in cell.seeds if (r := records.done(s.trial))])]  # fmt: skip
    costs = [record.get("cost") or {} for record in finals]
    tried = [trial for trial in records.trials if trial.variant == row.label and trial.id in records.found]
    seconds: dict[bool, float] = {True: 0.0, False: 0.0}
    for trial in tried:
        seconds[trial.stage == SEARCH] += spent(records.found[trial.id])
    peaks = [cost["peak_memory"] for cost in costs if cost.get("peak_memory")]
    return Cost(
        _median([p["trained"] for p in per_task if p]),
        _median([p["trained"] - p.get("head", 0) for p in per_task if p]),
        _median([p["all"] for p in per_task if p and "all" in p]),
        _median([cost["seconds"] for cost in costs if "seconds" in cost]),
        _median([value for cost in costs for value in cost.get("seconds_per_epoch") or []]),
        max(peaks, default=None), seconds[True], seconds[False],
        max((cost.get("together") or 1 for cost in costs), default=1),
    )  # fmt: skip


def spent(record: Record) -> float:
    """Seconds of one trial."""
    return float((record.get("cost") or {}).get("seconds") or 0)


def total(records: Records) -> float:
    """Seconds of all trials, searches and failures included."""
    return sum(spent(record) for record in records.found.values())


def _parameters(found: Sequence[Record]) -> Mapping[str, Any]:
    return next((record["parameters"] for record in found if record.get("parameters")), {})


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
