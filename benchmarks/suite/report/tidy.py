"""The results as one long CSV: a line per variant and task."""

from __future__ import annotations

import csv
import io

from benchmarks.suite.report.data import data_of
from benchmarks.suite.report.results import Results

COLUMNS = (
    *("variant", "method", "task", "title", "group", "route", "deviations"),
    *("mean", "std", "n", "planned", "seeds", "accuracies", "trials"),
)
"""mean, std, accuracies: percent, in full precision. seeds, accuracies, trials: of the finished final trials, in the
same order, with a semicolon between."""


def tidy(results: Results) -> str:
    """The CSV, with a heading line; empty where there is no number."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    told = {task.name: data_of(results.records, task) for task in results.tasks}
    for row in results.rows:
        for cell in row.cells:
            data, task = told[cell.task.name], cell.task
            found = cell.spread
            writer.writerow([
                row.label, row.variant.method, task.name, task.title, task.group, data.route if data else "",
                "; ".join(data.deviations) if data else "", "" if found is None else repr(found.mean),
                "" if found is None or found.std is None else repr(found.std), len(cell.seeds), cell.planned,
                ";".join(str(seed.seed) for seed in cell.seeds), ";".join(repr(seed.accuracy) for seed in cell.seeds),
                ";".join(seed.trial for seed in cell.seeds),
            ])  # fmt: skip
    return buffer.getvalue()
