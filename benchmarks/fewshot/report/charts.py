"""The charts: accuracy against shots, over all tasks and task by task; base and new classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.fewshot.report.harmonic import harmonic
from benchmarks.fewshot.report.tables.entries import cell_of, row_of
from benchmarks.fewshot.report.tables.shots import tasks_of
from benchmarks.suite.plan import Variant
from benchmarks.suite.report.charts.canvas import COLOURS, INK, MARKS, Chart, chart, legend
from benchmarks.suite.report.results import Results, Row
from benchmarks.suite.report.statistics import Spread

Shots = Mapping[int, Results]
Read = Callable[[Results, Row], Spread | None]
"""What a panel shows of a row."""

GROUPS = ("base classes", "new classes", "harmonic mean")

PER_LINE = 4
"""Panels beside each other."""

BARS = "bars: standard deviation over seeds. Dashed: without any image."


def shots(found: Shots, variants: Sequence[Variant]) -> Chart | None:
    """The mean over tasks; None where no row has one at one number of images or more."""
    read: Read = lambda results, row: row.mean(results.overall).spread  # noqa: E731
    if not _drawn(found, variants, read):
        return None

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        _panel(axis, found, variants, read)
        axis.set(xlabel="images per class", ylabel="accuracy, %")
        legend(figure, [axis], 4)

    return chart("shots", "Accuracy against shots", f"Means over tasks, of complete rows; {BARS}", (6.6, 4.4), draw)


def tasks(found: Shots, variants: Sequence[Variant]) -> Chart | None:
    """A panel per task, where there are several."""
    every = tasks_of(found)
    reads = [_reading(task.name) for task in every]
    if len(every) < 2 or not any(_drawn(found, variants, read) for read in reads):
        return None
    across = min(PER_LINE, len(every))
    down = math.ceil(len(every) / across)

    def draw(figure: Any) -> None:
        axes = figure.subplots(down, across, squeeze=False)
        for axis, task, read in zip(axes.flat, every, reads, strict=False):
            _panel(axis, found, variants, read)
            axis.set_title(task.title)
        for axis in axes.flat[len(every) :]:
            axis.set_visible(False)
        figure.supxlabel("images per class", fontsize=10)
        figure.supylabel("accuracy, %", fontsize=10)
        legend(figure, list(axes.flat))

    size = (max(2.5 * across + 0.6, 6.0), 2.3 * down + 0.8)
    return chart("tasks", "Accuracy against shots, task by task", f"Means over seeds; {BARS}", size, draw)


def base_to_new(parts: Mapping[str, Results], variants: Sequence[Variant]) -> Chart | None:
    """Bars of base, new and H, of the methods that have them all."""
    found = {}
    for row in parts["base"].rows if parts else ():
        other = row_of(parts["new"], row.label)
        means = [r.mean(parts["base"].overall).spread if r else None for r in (row, other)]
        if all(spread := [*means, harmonic(row, other)]):
            found[row.label] = spread
    if not found:
        return None
    thick = 0.26

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        rows = range(len(found))
        for place, (name, colour) in enumerate(zip(GROUPS, COLOURS, strict=False)):
            spreads = [own[place] for own in found.values()]
            lengths, bars = [s.mean for s in spreads if s], [s.std or 0 for s in spreads if s]
            heights = [row + (place - 1) * thick for row in rows]
            axis.barh(heights, lengths, 0.9 * thick, color=colour, label=name)
            axis.errorbar(lengths, heights, xerr=bars, color=INK, linestyle="none", linewidth=1, capsize=1.5)
        axis.set_yticks(rows, list(found))
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        axis.set(xlabel="accuracy, %", xlim=(0, None))
        axis.grid(axis="x")
        legend(figure, [axis])

    size = (6.6, 0.5 * len(found) + 1.2)
    caption = "Means over tasks, of the methods that have both complete; bars: standard deviation over seeds."
    return chart("base-to-new", "Base and new classes", caption, size, draw)


def _reading(task: str) -> Read:
    """What a panel of one task shows."""

    def read(results: Results, row: Row) -> Spread | None:
        cell = cell_of(row, task)
        return cell.spread if cell is not None and cell.complete else None

    return read


def _drawn(found: Shots, variants: Sequence[Variant], read: Read) -> bool:
    return any(_points(found, variant, read) for variant in variants)


def _points(found: Shots, variant: Variant, read: Read) -> list[tuple[int, Spread]]:
    """Images per class, from 1 on, and what is read there."""
    at = {k: read(results, row) for k, results in found.items() if k and (row := row_of(results, variant.label))}
    return [(k, spread) for k, spread in at.items() if spread is not None]


def _panel(axis: Any, found: Shots, variants: Sequence[Variant], read: Read) -> None:
    for variant, (colour, mark) in zip(variants, _styles(), strict=False):
        if points := _points(found, variant, read):
            axis.errorbar(
                [k for k, _ in points], [s.mean for _, s in points], yerr=[s.std or 0 for _, s in points],
                color=colour, marker=mark, markersize=5, linewidth=1.5, label=variant.label,
            )  # fmt: skip
        without = row_of(found.get(0), variant.label)
        if without is not None and (level := read(found[0], without)) is not None:
            axis.axhline(level.mean, color=colour, linestyle="--", linewidth=1.2, label=variant.label)
    counts = [k for k in found if k]
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(k) for k in counts])
    axis.minorticks_off()
    axis.margins(x=0.08, y=0.1)
    axis.grid(axis="y")


def _styles() -> list[tuple[str, str]]:
    """A colour and a mark for each method, the same in every chart."""
    return [(COLOURS[i % len(COLOURS)], MARKS[(i + i // len(COLOURS)) % len(MARKS)]) for i in range(64)]
