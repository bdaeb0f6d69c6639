"""Accuracy along an axis: prompt length, or what an ablation varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.suite.report.charts.canvas import COLOURS, INK, MARKS, Chart, chart, legend
from benchmarks.suite.report.results import Mean, Measure, Results, Row
from benchmarks.suite.trial import FINAL

Placed = tuple[Any, Row]
"""A row and its value on the axis."""


def ablation(results: Results) -> Chart | None:
    """The chart of a plan that is an ablation, over all rows that have a place on its axis."""
    told = results.records.plan.get("ablation")
    placed = [(row.variant.axis, row) for row in results.rows if row.variant.axis is not None]
    if not told or not placed:
        return None
    panels = {"": placed}
    return _along(results, panels, "ablation", told.get("title") or told["name"], told.get("axis") or told["name"])


def lengths(results: Results) -> Chart | None:
    """Accuracy against prompt length, of the methods that the plan has at several lengths."""
    placed = [(length, row) for row in results.rows if (length := _length(results, row)) is not None]
    methods = [row.variant.method for length, row in placed]
    several = [(length, row) for length, row in placed
               if len({n for n, other in placed if other.variant.method == row.variant.method}) > 1]  # fmt: skip
    if results.records.plan.get("ablation") or not methods or not several:
        return None
    panels = {method: [p for p in several if p[1].variant.method == method] for method in dict.fromkeys(methods)}
    panels = {method: placed for method, placed in panels.items() if placed}
    return _along(results, panels, "length", "Accuracy against prompt length", "prompt length")


def _length(results: Results, row: Row) -> float | None:
    """A row's prompt length, where it is the same on all tasks."""
    if isinstance(row.variant.axis, int | float):
        return row.variant.axis
    finals = [t for t in results.records.trials if t.variant == row.label and t.stage == FINAL]
    found = {trial.options.get("length") for trial in finals}
    length = found.pop() if len(found) == 1 else None
    return length if isinstance(length, int | float) else None


def _along(
    results: Results, panels: Mapping[str, Sequence[Placed]], name: str, title: str, axis_title: str
) -> Chart | None:
    """A line per group and one overall in each panel; None where no row has a mean."""
    rows = [row for placed in panels.values() for _, row in placed]
    measures = [m for m in results.measures if any(row.mean(m).spread for row in rows)]
    if not measures:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (heading, placed) in zip(axes, panels.items(), strict=True):
            _panel(axis, placed, results, measures)
            axis.set_xlabel(axis_title)
            axis.set_title(heading if len(panels) > 1 else "")
        axes[0].set_ylabel("accuracy, %")
        legend(figure, axes, 3)

    width = max(5.5, min(0.7 * len(rows) + 2.5, 9)) if len(panels) == 1 else 3.4 * len(panels) + 1
    caption = "Means over tasks, of complete rows; bars: standard deviation over seeds; dots: the seeds."
    return chart(name, title, caption, (width, 4.2), draw)


def _panel(axis: Any, placed: Sequence[Placed], results: Results, measures: Sequence[Measure]) -> None:
    numbers = all(isinstance(at, int | float) and not isinstance(at, bool) for at, _ in placed)
    ordered = sorted(placed, key=lambda found: found[0]) if numbers else list(placed)
    values = [at for at, _ in ordered] if numbers else list(range(len(ordered)))
    for measure in measures:
        index = results.measures.index(measure)
        means = [(x, row.mean(measure)) for x, (_, row) in zip(values, ordered, strict=True)]
        _series(axis, means, measure, index, joined=numbers)
    least = min((value for value in values if value > 0), default=0) if numbers else 0
    if least and min(values) >= 0 and max(values) / least >= 10:
        axis.set_xscale("symlog", linthresh=least)  # a logarithm that has room for none
    axis.set_xticks(values, [f"{at:g}" if numbers else str(at) for at, _ in ordered])
    axis.minorticks_off()
    if not numbers and sum(len(str(at)) for at, _ in ordered) > 50:
        axis.tick_params(axis="x", rotation=30)
    axis.margins(x=0.08, y=0.1)
    axis.grid(axis="y")


def _series(axis: Any, means: Sequence[tuple[float, Mean]], measure: Measure, index: int, *, joined: bool) -> None:
    """One measure along the axis; the overall ones in ink, the groups in colour."""
    known = [(x, mean.spread, mean.by_seed.values()) for x, mean in means if mean.spread]
    overall = measure.name.startswith("mean of")
    colour = INK if overall else COLOURS[index % len(COLOURS)]
    line = ("--" if measure.name == "mean of groups" else "-") if joined else "none"
    axis.errorbar(
        [x for x, _, _ in known], [s.mean for _, s, _ in known], yerr=[s.std or 0 for _, s, _ in known],
        color=colour, marker=MARKS[index % len(MARKS)], linestyle=line, linewidth=1.5, label=measure.name,
    )  # fmt: skip
    dots = [(x, value) for x, _, seeds in known for value in seeds]
    axis.plot([x for x, _ in dots], [y for _, y in dots], ".", color=colour, alpha=0.35, markersize=4)
