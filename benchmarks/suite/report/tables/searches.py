"""What the searches chose, and whether it lies at an edge of the grid."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import Cell, Results, Row
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, file_of, to
from benchmarks.suite.report.tables.texts import percent
from benchmarks.suite.trial import FINAL, SEARCH, Trial


def searches(results: Results, row: Row) -> Table | None:
    """One variant's chosen points, task by task; None where nothing was to be searched."""
    lines = [line for cell in row.cells if (line := _line(results.records, row, cell)) is not None]
    if not lines:
        return None
    chosen = [Column(name, "chosen") for name in ("learning rate", "weight decay", "accuracy on val, %")]
    columns = [Column("task"), *chosen, Column("at an edge of the grid"), Column("points tried")]
    return Table(f"search-{row.anchor}", row.label, f"Points chosen for {row.label}.", columns, [Body(lines)])


def edges(table: Table) -> int:
    """How many lines of a table of `searches` chose a point at an edge."""
    return sum(entry.tone == "warn" for line in table.lines for entry in line.entries)


def _line(records: Records, row: Row, cell: Cell) -> Line | None:
    trials = records.of(cell.task.name, row.label, SEARCH)
    if not trials:
        return None
    done = Entry(f"{sum(trial.id in records.found for trial in trials)} of {len(trials)}", href=to("outcomes"))
    point = _chosen(records, row, cell)
    head = Entry(cell.task.title, href=to(cell.anchor))
    if point is None:
        return Line(head, [NOTHING, NOTHING, NOTHING, Entry("not chosen yet"), done])
    trial = next((t for t in trials if (t.lr, t.weight_decay) == point), None)
    record = records.done(trial.id) if trial else None
    file = file_of(trial.id) if trial else None
    value = NOTHING if record is None else Entry(percent(100 * record["metrics"]["accuracy"]), href=file)
    return Line(head, [Entry(f"{point[0]:g}", href=file), Entry(f"{point[1]:g}", href=file), value,
                       _edge(point, trials), done])  # fmt: skip


def _chosen(records: Records, row: Row, cell: Cell) -> tuple[float, float] | None:
    """What the final trials of the cell were trained with."""
    for trial in records.of(cell.task.name, row.label, FINAL):
        chosen = records.found.get(trial.id, {}).get("chosen")
        if chosen:
            return chosen["lr"], chosen["weight_decay"]
    return None


def _edge(point: tuple[float, float], trials: Sequence[Trial]) -> Entry:
    """Which ends of the grid the point lies at; a decay of zero is none, since nothing lies below."""
    found = []
    for name, index in (("learning rate", 0), ("weight decay", 1)):
        grid = sorted({value for t in trials if (value := (t.lr, t.weight_decay)[index]) is not None})
        if len(grid) > 1 and point[index] in (grid[0], grid[-1]) and point[index] != 0:
            found.append(f"{'lowest' if point[index] == grid[0] else 'highest'} {name}")
    return Entry(", ".join(found), tone="warn") if found else Entry("no")
