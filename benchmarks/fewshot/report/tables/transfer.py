"""Learned on one task, measured on others by the names of their classes."""

from __future__ import annotations

from benchmarks.fewshot.report.tables.base_to_new import unbound
from benchmarks.fewshot.report.tables.entries import UNPLANNED, column, highest
from benchmarks.suite.report.results import OF_TASKS, Measure, Results
from benchmarks.suite.report.table import Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.accuracy import mean_entry


def transfer(results: Results, shots: int) -> Table:
    """The task that was learned on, then every target and their mean."""
    source, *targets = results.tasks
    columns = [Column("method"), Column(source.title, "learned on")]
    columns += [Column(task.title, "measured on") for task in targets]
    found = [column(results, task.name) for task in results.tasks]
    if len(targets) > 1:
        columns.append(Column("mean", "measured on"))
        measure = Measure(OF_TASKS, (tuple(range(1, len(results.tasks))),))
        top = highest(row.mean(measure).spread for row in results.rows)
        found.append({row.label: mean_entry(row, measure, top) for row in results.rows})
    lines = [Line(Entry(row.label, href=to(row.anchor)), [e.get(row.label, UNPLANNED) for e in found])
             for row in results.rows]  # fmt: skip
    caption = (
        f"Learned on {shots} images of every class of {source.title}; accuracy on all test images, in percent, of the "
        "other tasks with the names of their classes in place of its own; mean ± sample standard deviation over seeds."
    )
    title, notes = f"Transfer from {source.title}", unbound(results)
    return Table(f"transfer-{source.name}", title, caption, columns, [Body(lines)], notes)
