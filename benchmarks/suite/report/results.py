"""The numbers of a report, computed once: cells, means over tasks, wins, differences.

Which trials they are of, and which metric, is a `View`: the final trials and their accuracy, unless a suite has others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.suite.plan import TaskEntry, Variant
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.statistics import Difference, Spread, mean_of_means, paired, spread
from benchmarks.suite.report.suite import Suite
from benchmarks.suite.trial import FINAL, Trial

OF_GROUPS, OF_TASKS = "mean of groups", "mean of tasks"
REFERENCES = ("full", "linear")
"""Methods that the others are compared with."""


@dataclass(frozen=True)
class Seed:
    """One finished trial: its id, its seed, its test accuracy in percent."""

    trial: str
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Cell:
    """One task under one variant. trials: those of the plan; anchor: of its line in the page."""

    task: TaskEntry
    anchor: str
    trials: tuple[Trial, ...]
    seeds: tuple[Seed, ...]

    @property
    def planned(self) -> int:
        """How many seeds the plan has."""
        return len(self.trials)

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Test accuracy in percent by seed."""
        return {seed.seed: seed.accuracy for seed in self.seeds}

    @cached_property
    def spread(self) -> Spread | None:
        """Over the finished seeds; None without any."""
        return spread(list(self.by_seed.values()))

    @property
    def complete(self) -> bool:
        """Whether every planned seed was trained to its end."""
        return 0 < self.planned == len(self.seeds)


@dataclass(frozen=True)
class Measure:
    """A mean over tasks. parts: indices of tasks; the average is over the averages of the parts."""

    name: str
    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Mean:
    """A row's value of a measure. spread: None where a cell is incomplete, which `lacking` then names.

    by_seed: the measure seed by seed; empty where the tasks do not share their seeds.
    """

    spread: Spread | None
    by_seed: dict[int, float]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One variant over all tasks, in the table's order."""

    variant: Variant
    anchor: str
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        """The variant's name."""
        return self.variant.label

    @property
    def complete(self) -> bool:
        """Whether every seed of every task was trained to its end."""
        return all(cell.complete for cell in self.cells)

    def mean(self, measure: Measure) -> Mean:
        """The measure over this row: a number only where each of its cells is complete."""
        parts = [[self.cells[index] for index in part] for part in measure.parts]
        cells = [cell for part in parts for cell in part]
        if lacking := tuple(cell.task.title for cell in cells if not cell.complete):
            return Mean(None, {}, lacking)
        value = mean_of_means([[cell.spread.mean for cell in part if cell.spread] for part in parts])
        seeds = cells[0].by_seed.keys()
        if any(cell.by_seed.keys() != seeds for cell in cells):
            return Mean(Spread(value, None, 0), {}, ())
        by_seed = {seed: mean_of_means([[cell.by_seed[seed] for cell in part] for part in parts]) for seed in seeds}
        over = spread(list(by_seed.values()))
        return Mean(Spread(value, over.std if over else None, len(by_seed)), by_seed, ())

    def differences(self, reference: Row) -> list[Difference | None]:
        """To another row, task by task, over the seeds that both have."""
        return [paired(ours.by_seed, theirs.by_seed) for ours, theirs in zip(self.cells, reference.cells, strict=True)]

    def wins(self, reference: Row) -> tuple[int, int]:
        """On how many tasks the mean is above the other row's, and how many both have complete."""
        both = [(a, b) for a, b in zip(self.cells, reference.cells, strict=True) if a.complete and b.complete]
        return sum(a.spread.mean > b.spread.mean for a, b in both if a.spread and b.spread), len(both)


@dataclass(frozen=True)
class Results:
    """All rows, and the measures that are taken of each."""

    suite: Suite
    records: Records
    tasks: tuple[TaskEntry, ...]
    rows: tuple[Row, ...]
    measures: tuple[Measure, ...]

    @property
    def overall(self) -> Measure:
        """The measure that stands for a row where there is room for one."""
        return self.measures[-1]

    def reference(self, method: str) -> Row | None:
        """The row of that name, or else the first one of that method."""
        rows = [row for row in self.rows if row.variant.method == method]
        return next((row for row in rows if row.label == method), rows[0] if rows else None)

    def references(self) -> list[Row]:
        """The rows that the others are compared with."""
        return [row for method in REFERENCES if (row := self.reference(method)) is not None]

    def others(self, reference: Row) -> list[Row]:
        """The rows that a reference is compared with."""
        return [row for row in self.rows if row is not reference]


@dataclass(frozen=True)
class View:
    """Which trials of a folder are looked at, and what is read of them.

    trials: those of a task and a variant, by name. metric: what is read of them for a task, a rate among their metrics.
    prefix: of all anchors, where a page has several views.
    """

    tasks: tuple[TaskEntry, ...]
    variants: tuple[Variant, ...]
    trials: Callable[[str, str], Sequence[Trial]]
    metric: Callable[[str], str]
    prefix: str = ""


def finals(records: Records) -> View:
    """The accuracy of final trials, of everything that the plan has."""
    return View(
        records.tasks, records.variants, lambda task, variant: records.of(task, variant, FINAL), lambda task: "accuracy"
    )


def compute(records: Records, suite: Suite, view: View | None = None) -> Results:
    """The numbers of a report."""
    view = view or finals(records)
    rows = [_row(records, view, variant) for variant in view.variants]
    return Results(suite, records, view.tasks, tuple(rows), tuple(measures(view.tasks)))


def measures(tasks: Sequence[TaskEntry]) -> list[Measure]:
    """A mean per group and over the groups, where there is more than one; and over the tasks."""
    groups: dict[str, list[int]] = {}
    for index, task in enumerate(tasks):
        groups.setdefault(task.group, []).append(index)
    parts = tuple(tuple(indices) for indices in groups.values())
    every = Measure(OF_TASKS, (tuple(range(len(tasks))),))
    if len(groups) == 1:
        return [every]
    single = [Measure(name, (part,)) for name, part in zip(groups, parts, strict=True)]
    return [*single, Measure(OF_GROUPS, parts), every]


def _row(records: Records, view: View, variant: Variant) -> Row:
    cells, index = [], records.variants.index(variant)
    for place, task in enumerate(view.tasks):
        trials, metric = view.trials(task.name, variant.label), view.metric(task.name)
        found = [(t, done["metrics"][metric]) for t in trials
                 if (done := records.done(t.id)) is not None and metric in done["metrics"]]  # fmt: skip
        seeds = tuple(Seed(trial.id, trial.seed, 100 * rate) for trial, rate in found)
        cells.append(Cell(task, f"{view.prefix}cell-{index}-{place}", tuple(trials), seeds))
    return Row(variant, f"{view.prefix}variant-{index}", tuple(cells))
