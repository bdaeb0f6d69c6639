"""Accuracy against images per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.fewshot.report.tables.entries import UNPLANNED, column, means
from benchmarks.suite.plan import TaskEntry, Variant
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import Body, Column, Entry, Line, Table, to

Shots = Mapping[int, Results]

CAPTION = "Accuracy on all test images after the last epoch, in percent; mean ± sample standard deviation over seeds."


def tasks_of(shots: Shots) -> list[TaskEntry]:
    """The tasks of any number of shots."""
    return list(dict.fromkeys(task for results in shots.values() for task in results.tasks))


def by_shots(shots: Shots, variants: Sequence[Variant]) -> Table:
    """The mean over tasks, one line per method."""
    columns = [Column("method"), *(Column(str(k), "images per class") for k in shots)]
    found = [means(results) for results in shots.values()]
    lines = _lines(variants, found)
    tasks = tasks_of(shots)
    over = f"Means over {len(tasks)} tasks" if len(tasks) > 1 else f"Of {tasks[0].title} alone"
    notes = [f"{over}; bold: the highest of its column."]
    notes += ["0: nothing is learned, and no image of the task is seen."] if 0 in shots else []
    lacking = [r.label for results in shots.values() for r in results.rows if not r.complete]
    notes += [f"–: incomplete, and no mean is taken without: {', '.join(dict.fromkeys(lacking))}."] if lacking else []
    return Table("shots", "Accuracy against shots", CAPTION, columns, [Body(lines)], notes)


def every_task(shots: Shots, variants: Sequence[Variant]) -> Table | None:
    """The same task by task; None where there is only one."""
    tasks = tasks_of(shots)
    if len(tasks) < 2:
        return None
    columns = [Column("method"), *(Column(str(k), "images per class") for k in shots)]
    bodies = []
    for task in tasks:
        found = [column(results, task.name) for results in shots.values()]
        bodies.append(Body(_lines(variants, found), task.title))
    return Table("tasks", "Every task", CAPTION, columns, bodies)


def _lines(variants: Sequence[Variant], found: Sequence[Mapping[str, Entry]]) -> list[Line]:
    """A line per method of which there is an entry."""
    return [
        Line(Entry(v.label, href=to(f"variant-{i}")), [entries.get(v.label, UNPLANNED) for entries in found])
        for i, v in enumerate(variants) if any(v.label in entries for entries in found)
    ]  # fmt: skip
