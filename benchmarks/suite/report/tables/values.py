"""Every value with its file: per variant a line for each task, per seed a link."""

from __future__ import annotations

from itertools import groupby

from benchmarks.suite.report.results import Cell, Results, Row
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, file_of, to
from benchmarks.suite.report.tables.texts import deviation, percent
from benchmarks.suite.trial import FINAL


def values(results: Results, row: Row) -> Table:
    """One variant's test accuracies, and means, task by task and group by group."""
    trials = [trial for trial in results.records.trials if trial.variant == row.label and trial.stage == FINAL]
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    columns = [Column("task"), Column("mean"), *(Column(f"seed {seed}", "test accuracy, %") for seed in seeds)]
    bodies = []
    for group, found in groupby(enumerate(row.cells), key=lambda item: item[1].task.group):
        places = list(found)
        lines = [_line(results, row, cell, seeds) for _, cell in places]
        bodies.append(Body(lines, group, f"{row.anchor}-from-{places[0][0]}"))
    options = ", ".join(f"{name}={value}" for name, value in row.variant.options.items())
    method = f"Method {row.variant.method}{f' with {options}' if options else ''}."
    return Table(row.anchor, row.label, method, columns, bodies)


def _line(results: Results, row: Row, cell: Cell, seeds: list[int]) -> Line:
    trials = {trial.seed: trial.id for trial in results.records.of(cell.task.name, row.label, FINAL)}
    found, here = cell.spread, to(cell.anchor)
    entries = [NOTHING if found is None else Entry(percent(found.mean), deviation(found), here)]
    for seed in seeds:
        trial = trials.get(seed)
        record = results.records.found.get(trial) if trial else None
        if trial is None:
            entries.append(Entry("", "not planned"))
        elif record is None:
            entries.append(Entry("", "missing", "#outcomes", "warn"))
        elif seed in cell.by_seed:
            entries.append(Entry(percent(cell.by_seed[seed]), href=file_of(trial)))
        else:
            entries.append(Entry("", record["status"], file_of(trial), "warn"))
    return Line(Entry(cell.task.title), entries, cell.anchor)
