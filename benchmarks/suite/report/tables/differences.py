"""Paired differences to a reference: per task, and overall."""

from __future__ import annotations

from benchmarks.suite.report.results import OF_GROUPS, OF_TASKS, Results, Row
from benchmarks.suite.report.statistics import Difference, paired
from benchmarks.suite.report.table import Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.texts import interval, signed

ABOUT = (
    "The intervals are about chance in training, seed to seed; other test images or other tasks are not in them. "
    "Each stands alone: among many of them some miss by chance."
)


def differences(results: Results, reference: Row) -> Table:
    """What the others are above or below a reference, in points of accuracy."""
    overall = [measure for measure in results.measures if measure.name in (OF_GROUPS, OF_TASKS)]
    columns = [Column("variant"), *(Column(measure.name, "overall") for measure in overall)]
    columns += [Column(task.title, task.group) for task in results.tasks]
    lines = []
    for row in results.others(reference):
        pairs = [paired(row.mean(m).by_seed, reference.mean(m).by_seed) for m in overall]
        entries = [_entry(found, row.anchor) for found in pairs]
        entries += [_entry(d, c.anchor) for d, c in zip(row.differences(reference), row.cells, strict=True)]
        lines.append(Line(Entry(row.label, href=to(row.anchor)), entries))
    caption = (
        f"Accuracy minus that of {reference.label} under the same seed, in points: the mean over seeds, and its 95% t "
        "interval. Overall: the same for the mean that each seed has over the tasks."
    )
    return Table(
        f"differences-{reference.anchor}", f"Differences to {reference.label}", caption, columns, [Body(lines)],
        [*_on_seeds(results, reference), ABOUT],
    )  # fmt: skip


def _entry(found: Difference | None, anchor: str) -> Entry:
    if found is None:
        return Entry("–", href=to(anchor))
    return Entry(signed(found.mean), interval(found), to(anchor), {1: "up", -1: "down"}.get(found.sign, ""))


def _on_seeds(results: Results, reference: Row) -> list[str]:
    """How many pairs there are, where that is one or differs; and what a dash is."""
    found = [d for row in results.others(reference) for d in row.differences(reference)]
    counts = sorted({d.n for d in found if d is not None})
    notes = []
    if 1 in counts:
        notes.append("Where only one seed is shared there is no interval: one pair says nothing about spread.")
    if len(counts) > 1:
        notes.append(f"The number of shared seeds differs between cells, from {counts[0]} to {counts[-1]}.")
    rows = [reference, *results.others(reference)]
    if None in found or not all(row.complete for row in rows):
        notes.append("–: no shared seed; overall: a row is incomplete.")
    return notes
