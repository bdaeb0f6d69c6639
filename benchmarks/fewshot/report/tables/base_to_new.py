"""Base-to-new generalisation: trained on half of the classes, measured on either half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.fewshot.report.costs import training
from benchmarks.fewshot.report.tables.entries import UNPLANNED, column, harmonic_means, means
from benchmarks.suite.plan import TaskEntry
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.texts import duration

Parts = Mapping[str, Results]
"""Results by `base`, `new` and `h`."""

CAPTION = (
    "Trained on the first half of the classes; accuracy on the test images of either half among its own classes, in "
    "percent; mean ± sample standard deviation over seeds. H: the harmonic mean of base and new."
)


def base_to_new(parts: Parts, shots: int) -> Table:
    """Base, new, H and seconds of training: the mean over tasks, then every task."""
    columns = [Column("method"), Column("base"), Column("new"), Column("H"), Column("training", "time")]
    tasks = parts["base"].tasks
    averages = [means(parts["base"]), means(parts["new"]), harmonic_means(parts)]
    title = tasks[0].title if len(tasks) == 1 else f"Mean of {len(tasks)} tasks"
    bodies = [_body(parts["base"], averages, tasks, title)]
    for task in tasks if len(tasks) > 1 else ():
        bodies.append(_body(parts["base"], [column(part, task.name) for part in parts.values()], [task], task.title))
    notes = [f"{shots} images of every base class; bold: the highest of its column.",
             "H of a mean over tasks: of each seed's mean on base and on new classes, as it is published.",
             "training: seconds of one training, the median; whoever trains first also computes image features that "
             "later ones share.",
             *unbound(parts["new"])]  # fmt: skip
    return Table("base-to-new", "Base to new", CAPTION, columns, bodies, notes)


def _body(base: Results, found: Sequence[Mapping[str, Entry]], tasks: Sequence[TaskEntry], title: str) -> Body:
    """A line per method: the `found` entries by its label, and seconds over `tasks`."""
    lines = []
    for row in base.rows:
        took = training(base.records, [cell for cell in row.cells if cell.task in tasks])
        time = NOTHING if took is None else Entry(duration(took), href=to(row.anchor))
        lines.append(Line(Entry(row.label, href=to(row.anchor)), [*(e.get(row.label, UNPLANNED) for e in found), time]))
    return Body(lines, title)


def unbound(results: Results) -> list[str]:
    """A note per row on what kept it from being measured with other classes."""
    notes = []
    for row in results.rows:
        trials = [trial.id for cell in row.cells for trial in cell.trials]
        told = [remark for trial in trials if (found := results.records.done(trial))
                for remark in found.get("remarks") or ()]  # fmt: skip
        if told:
            notes.append(f"{row.label}: not measured on other classes: {told[0].partition(': ')[2]}.")
    return notes
