"""The results as one long CSV: a line per method, measurement and task."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from benchmarks.suite.report.results import Results

COLUMNS = (
    *("method", "variant", "measured", "task", "title"),
    *("mean", "std", "n", "planned", "seeds", "accuracies", "trials"),
)
"""mean, std, accuracies: percent, in full precision. seeds, accuracies, trials: of the finished trials, in the same
order, with a semicolon between."""


def tidy(parts: Mapping[str, Results]) -> str:
    """The CSV, with a heading line; empty where there is no number. parts: results by what was measured."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for measured, results in parts.items():
        for row in results.rows:
            for cell in row.cells:
                found = cell.spread
                writer.writerow([
                    row.variant.method, row.label, measured, cell.task.name, cell.task.title,
                    "" if found is None else repr(found.mean),
                    "" if found is None or found.std is None else repr(found.std), len(cell.seeds), cell.planned,
                    ";".join(str(s.seed) for s in cell.seeds), ";".join(repr(s.accuracy) for s in cell.seeds),
                    ";".join(s.trial for s in cell.seeds),
                ])  # fmt: skip
    return buffer.getvalue()
