"""Every value with its file: per method, and then per number of shots or kind of measurement, a line for each task."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.fewshot.report.tables.entries import row_of
from benchmarks.suite.plan import Variant
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import Body, Table
from benchmarks.suite.report.tables.values import columns, in_words, line, seeds_of


def values(parts: Mapping[str, Results], variant: Variant, index: int) -> Table:
    """One method's accuracies. parts: results by title."""
    found = {title: (results, row) for title, results in parts.items() if (row := row_of(results, variant.label))}
    seeds = seeds_of([row for _, row in found.values()])
    bodies = [Body([line(results, cell, seeds) for cell in row.cells if cell.planned], title, row.anchor)
              for title, (results, row) in found.items()]  # fmt: skip
    return Table(f"variant-{index}", variant.label, in_words(variant), columns(seeds), bodies)
