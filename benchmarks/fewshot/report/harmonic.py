"""H over several tasks."""

from __future__ import annotations

from benchmarks.suite.report.results import Row, measures
from benchmarks.suite.report.statistics import Spread, spread
from vpt.data import harmonic_mean


def harmonic(base: Row | None, new: Row | None) -> Spread | None:
    """The harmonic mean of a row's mean over tasks on base classes and that on new ones, as it is published.

    Each seed has its own, of which it is the mean; None where a cell is incomplete.
    """
    if base is None or new is None:
        return None
    overall = measures([cell.task for cell in base.cells])[-1]
    ours, theirs = base.mean(overall).by_seed, new.mean(overall).by_seed
    if ours.keys() != theirs.keys():
        return None
    return spread([harmonic_mean(ours[seed], theirs[seed]) for seed in ours])
