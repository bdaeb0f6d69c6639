"""Accuracy per group of tasks."""

from __future__ import annotations

from typing import Any

from benchmarks.suite.report.charts.canvas import INK, Chart, chart, colour_of, legend
from benchmarks.suite.report.results import Results


def groups(results: Results) -> Chart | None:
    """Bars per group and overall, one for each variant that has the mean; an ablation has a chart of its own."""
    found = [[row.mean(measure).spread for measure in results.measures] for row in results.rows]
    if results.records.plan.get("ablation") or not any(spread for spreads in found for spread in spreads):
        return None
    colours, width = colour_of(results), 0.84 / len(results.rows)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for index, (row, spreads) in enumerate(zip(results.rows, found, strict=True)):
            shift = (index - (len(results.rows) - 1) / 2) * width
            drawn = [(place + shift, s.mean, s.std or 0) for place, s in enumerate(spreads) if s]
            places, means, deviations = zip(*drawn, strict=True) if drawn else ((), (), ())
            axis.bar(places, means, 0.9 * width, color=colours[row.label], label=row.label)
            axis.errorbar(places, means, yerr=deviations, color=INK, linestyle="none", linewidth=1, capsize=1.5)
        axis.set_xticks(range(len(results.measures)), [measure.name for measure in results.measures])
        axis.tick_params(axis="x", length=0)
        axis.set(ylabel="accuracy, %", ylim=(0, None))
        axis.grid(axis="y")
        legend(figure, [axis])

    caption = "Means over tasks, of the variants that have them complete; bars: standard deviation over seeds."
    return chart("groups", "Accuracy per group", caption, (max(7.0, 1.8 * len(results.measures)), 4.0), draw)
