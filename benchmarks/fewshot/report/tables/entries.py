"""What several of the tables have in their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.fewshot.report.harmonic import harmonic
from benchmarks.suite.report.results import Cell, Results, Row
from benchmarks.suite.report.statistics import Spread
from benchmarks.suite.report.table import DASH, Entry, to
from benchmarks.suite.report.tables.accuracy import cell_entry, mean_entry
from benchmarks.suite.report.tables.texts import deviation, percent

UNPLANNED = Entry("")
"""Where the plan has no trial."""


def row_of(results: Results | None, label: str) -> Row | None:
    """A variant's row, where it has one."""
    return next((row for row in results.rows if row.label == label), None) if results else None


def highest(spreads: Iterable[Spread | None]) -> float | None:
    """The highest mean, where there is something to compare."""
    means = [found.mean for found in spreads if found is not None]
    return max(means) if len(means) > 1 else None


def means(results: Results) -> dict[str, Entry]:
    """The mean over tasks of every row, by label; the highest is marked."""
    top = highest(row.mean(results.overall).spread for row in results.rows)
    return {row.label: mean_entry(row, results.overall, top) for row in results.rows}


def column(results: Results, task: str) -> dict[str, Entry]:
    """The cells of one task, by the rows' labels; the highest is marked."""
    cells = {row.label: cell for row in results.rows if (cell := cell_of(row, task)) is not None}
    top = highest(cell.spread for cell in cells.values() if cell.complete)
    return {label: _entry(results, cell, top) for label, cell in cells.items()}


def _entry(results: Results, cell: Cell, top: float | None) -> Entry:
    """A cell; a dash where all of its trials are done, and none could be measured so."""
    if not cell.planned:
        return UNPLANNED
    if not cell.seeds and all(results.records.done(trial.id) for trial in cell.trials):
        return Entry(DASH, href=to(cell.anchor))
    return cell_entry(cell, top)


def cell_of(row: Row, task: str) -> Cell | None:
    """A row's cell of a task, where its view has that."""
    return next((cell for cell in row.cells if cell.task.name == task), None)


def harmonic_means(parts: Mapping[str, Results]) -> dict[str, Entry]:
    """H of the means over tasks on base and new classes, by label."""
    found = {row.label: (row, harmonic(row, row_of(parts["new"], row.label))) for row in parts["base"].rows}
    top = highest(spread for _, spread in found.values())
    anchors = {row.label: row.anchor for row in parts["h"].rows}
    return {
        label: Entry("–", href=to(anchors[label])) if h is None
        else Entry(percent(h.mean), deviation(h), to(anchors[label]), "best" if h.mean == top else "")
        for label, (_, h) in found.items()
    }  # fmt: skip
