"""Every value with its file: per variant a line for each task, per seed a link."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from benchmarks.suite.folder import DONE
from benchmarks.suite.plan import Variant
from benchmarks.suite.report.results import Cell, Results, Row
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, file_of, to
from benchmarks.suite.report.tables.texts import deviation, percent


def values(results: Results, row: Row) -> Table:
    """One variant's test accuracies, and means, task by task and group by group."""
    seeds = seeds_of([row])
    bodies = []
    for group, found in groupby(enumerate(row.cells), key=lambda item: item[1].task.group):
        places = list(found)
        lines = [line(results, cell, seeds) for _, cell in places]
        bodies.append(Body(lines, group, f"{row.anchor}-from-{places[0][0]}"))
    return Table(row.anchor, row.label, in_words(row.variant), columns(seeds), bodies)


def seeds_of(rows: Sequence[Row]) -> list[int]:
    """The seeds that are planned for any of the rows, in the plan's order."""
    return list(dict.fromkeys(trial.seed for row in rows for cell in row.cells for trial in cell.trials))


def columns(seeds: Sequence[int]) -> list[Column]:
    """Task, mean, and one for each seed."""
    return [Column("task"), Column("mean"), *(Column(f"seed {seed}", "test accuracy, %") for seed in seeds)]


def in_words(variant: Variant) -> str:
    """`Method deep with length=10.`"""
    options = ", ".join(f"{name}={value}" for name, value in variant.options.items())
    return f"Method {variant.method}{f' with {options}' if options else ''}."


def line(results: Results, cell: Cell, seeds: Sequence[int]) -> Line:
    """A cell's mean and the value of each seed, which lead to their trials' files."""
    trials = {trial.seed: trial.id for trial in cell.trials}
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
            why = record["status"] if record["status"] != DONE else "not measured"
            entries.append(Entry("", why, file_of(trial), "warn"))
    return Line(Entry(cell.task.title), entries, cell.anchor)
