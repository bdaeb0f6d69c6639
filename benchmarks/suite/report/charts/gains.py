"""Differences to a reference, task by task."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.suite.report.charts.canvas import FAINT, INK, Chart, chart, colour_of
from benchmarks.suite.report.results import Results, Row

PER_LINE = 5
"""Panels beside each other."""


def gains(results: Results) -> Chart | None:
    """A panel per variant, a bar per task, with the interval where there is one."""
    reference = next(iter(results.references()), None)
    rows = [row for row in results.others(reference) if any(row.differences(reference))] if reference else []
    if reference is None or not rows:
        return None
    across = min(PER_LINE, len(rows))
    down = math.ceil(len(rows) / across)
    height = 0.24 * len(results.tasks) + 0.7

    def draw(figure: Any) -> None:
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axis, row in zip(axes.flat, rows, strict=False):
            _panel(axis, results, row, reference)
        for axis in axes.flat[len(rows) :]:
            axis.set_visible(False)
        figure.supxlabel(f"accuracy minus that of {reference.label}, points", fontsize=10)

    caption = (
        f"Mean difference to {reference.label} over seeds; lines: 95% t interval over paired seeds. "
        "Pale: the interval holds zero, or there is none."
    )
    size = (max(1.75 * across + 1.6, 5.0), height * down + 0.3)
    return chart("differences", f"Task by task against {reference.label}", caption, size, draw)


def _panel(axis: Any, results: Results, row: Row, reference: Row) -> None:
    colour = colour_of(results)[row.label]
    for place, found in enumerate(row.differences(reference)):
        if found is None:
            continue
        axis.barh(place, found.mean, 0.7, color=colour, alpha=1.0 if found.sign else 0.4)
        if found.low is not None and found.high is not None:
            axis.plot([found.low, found.high], [place, place], color=INK, linewidth=1)
    axis.axvline(0, color=FAINT, linewidth=1)
    axis.set_title(row.label)
    axis.set_yticks(range(len(results.tasks)), [task.title for task in results.tasks], fontsize=9)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.grid(axis="x")
