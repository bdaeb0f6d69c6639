"""Where each task's images came from."""

from __future__ import annotations

from benchmarks.suite.report.data import Data, data_of
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import DASH, NOTHING, Body, Column, Entry, Line, Table, file_of

PARTS = ("train", "val", "test")


def sources(results: Results) -> Table:
    """Route, sizes, digests and deviations, one line per task."""
    columns = [Column("task"), Column("route"), *(Column(part, "images") for part in PARTS)]
    columns += [Column("train", "digest"), Column("val", "digest"), Column("test", "digest"), Column("deviations")]
    found = {task: data_of(results.records, task) for task in results.tasks}
    lines = [Line(Entry(task.title), _entries(data) if data else [NOTHING] * (len(columns) - 1))
             for task, data in found.items()]  # fmt: skip
    notes = [f"{data.task.title}: trials were given {data.others + 1} different sets of images under this name; they "
             "cannot be compared." for data in found.values() if data and data.others]  # fmt: skip
    caption = "As the records of the trials say it; results of different routes are not comparable."
    return Table("data", "Data", caption, columns, [Body(lines)], notes)


def _entries(data: Data) -> list[Entry]:
    file = file_of(data.trial)
    sizes = [Entry(f"{data.sizes[part]:,}" if part in data.sizes else DASH, href=file) for part in PARTS]
    digests = [Entry(str(data.digests.get(part, DASH))[:12], href=file) for part in PARTS]
    deviations = Entry("; ".join(data.deviations), tone="warn") if data.deviations else Entry("none")
    return [Entry(data.route, href=file), *sizes, *digests, deviations]
