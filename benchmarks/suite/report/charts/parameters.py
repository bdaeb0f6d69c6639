"""Accuracy against trained parameters."""

from __future__ import annotations

from typing import Any

from benchmarks.suite.report.charts.canvas import Chart, chart, colour_of, legend, mark_of, short
from benchmarks.suite.report.cost import cost_of
from benchmarks.suite.report.results import Results


def parameters(results: Results) -> Chart | None:
    """One point per complete row, at its mean over tasks; None where all of them train equally much."""
    known = [
        (row.label, trained, found)
        for row in results.rows
        if (found := row.mean(results.overall).spread) and (trained := cost_of(results.records, row).trained)
    ]
    if len({trained for _, trained, _ in known}) < 2:
        return None
    colours, marks = colour_of(results), mark_of(results)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for label, trained, found in known:
            axis.errorbar(trained, found.mean, yerr=found.std or 0, color=colours[label], marker=marks[label],
                          markersize=8, linestyle="none", label=label)  # fmt: skip
        axis.set(xscale="log", xlabel="trained parameters, head included (median over tasks)",
                 ylabel=f"{results.overall.name}, %")  # fmt: skip
        axis.xaxis.set_major_formatter(short)
        axis.margins(x=0.12, y=0.15)
        axis.grid()
        legend(figure, [axis], 4)

    caption = f"The {results.overall.name} of each complete row; bars: standard deviation over seeds."
    return chart("parameters", "Accuracy against trained parameters", caption, (6.6, 4.2), draw)
