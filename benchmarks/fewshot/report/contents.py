"""All that a report says, before it is set in any form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from benchmarks.fewshot.report import charts, views
from benchmarks.fewshot.report.tables import base_to_new, costs, published, shots, transfer, values
from benchmarks.fewshot.stage import BASE_TO_NEW, TRANSFER, Stage
from benchmarks.suite.report.charts.canvas import Chart
from benchmarks.suite.report.outcomes import Outcomes, outcomes
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import Results, View, compute
from benchmarks.suite.report.suite import Suite
from benchmarks.suite.report.table import Table
from benchmarks.suite.report.tables.sources import sources
from benchmarks.suite.report.tables.texts import plural


@dataclass(frozen=True)
class Contents:
    """Results, tables and charts, each made when it is asked for; what the plan has not is None or empty."""

    suite: Suite
    records: Records

    @property
    def title(self) -> str:
        """The suite's, with the preset."""
        return f"{self.suite.title}: {self.records.plan['preset']}"

    @property
    def about(self) -> list[str]:
        """The preset's words on itself."""
        return [self.records.plan["about"]]

    def _compute(self, view: View) -> Results:
        return compute(self.records, self.suite, view)

    @cached_property
    def shots(self) -> dict[int, Results]:
        """By images per class."""
        return {k: self._compute(view) for k, view in views.of_shots(self.records).items()}

    @cached_property
    def base_to_new(self) -> dict[str, Results]:
        """`base`, `new` and `h`."""
        return {name: self._compute(view) for name, view in views.of_base_to_new(self.records).items()}

    @cached_property
    def transfers(self) -> dict[str, Results]:
        """By the task that was learned on."""
        return {source: self._compute(view) for source, view in views.of_transfer(self.records).items()}

    @cached_property
    def parts(self) -> dict[str, Results]:
        """All results, by title."""
        titles = {"base": "base to new: base classes", "new": "base to new: new classes", "h": "base to new: H"}
        found = {f"{plural(k, 'image')} per class" if k else "no image": part for k, part in self.shots.items()}
        found |= {titles[name]: part for name, part in self.base_to_new.items()}
        return found | {f"transfer from {part.tasks[0].title}": part for part in self.transfers.values()}

    def shots_of(self, kind: str) -> int:
        """Images per class of base-to-new or transfer."""
        return max(stage.shots for t in self.records.trials if (stage := Stage.of(t.stage)).kind == kind)

    @cached_property
    def by_shots(self) -> Table | None:
        """Means over tasks."""
        return shots.by_shots(self.shots, self.records.variants) if self.shots else None

    @cached_property
    def tasks(self) -> Table | None:
        """Every task."""
        return shots.every_task(self.shots, self.records.variants)

    @cached_property
    def generalisation(self) -> Table | None:
        """Base, new, H."""
        return base_to_new.base_to_new(self.base_to_new, self.shots_of(BASE_TO_NEW)) if self.base_to_new else None

    @cached_property
    def transfer(self) -> list[Table]:
        """One table per task that was learned on."""
        return [transfer.transfer(results, self.shots_of(TRANSFER)) for results in self.transfers.values()]

    @cached_property
    def published(self) -> Table | None:
        """Figures of others beside ours."""
        return published.beside(self.records, self.shots, self.base_to_new)

    @cached_property
    def cost(self) -> Table:
        """Parameters, time, memory."""
        parts = {f"{k} per class": part for k, part in self.shots.items() if k}
        if self.base_to_new:
            parts["base to new"] = self.base_to_new["base"]
        parts |= {title: part for title, part in self.parts.items() if part in self.transfers.values()}
        return costs.costs(self.records, parts, self.records.variants)

    @cached_property
    def values(self) -> list[Table]:
        """Every value, one table per method."""
        return [values.values(self.parts, v, index) for index, v in enumerate(self.records.variants)]

    @cached_property
    def data(self) -> Table:
        """Where each task's images came from."""
        return sources(compute(self.records, self.suite))

    @cached_property
    def outcomes(self) -> Outcomes:
        """What became of the trials without a number."""
        return outcomes(self.records)

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """By the section of the page."""
        drawn = {"shots": charts.shots(self.shots, self.records.variants),
                 "tasks": charts.tasks(self.shots, self.records.variants),
                 "base-to-new": charts.base_to_new(self.base_to_new, self.records.variants)}  # fmt: skip
        return {name: chart for name, chart in drawn.items() if chart is not None}

    @property
    def tables(self) -> list[Table]:
        """The results, in the page's order."""
        every = [self.by_shots, self.tasks, self.generalisation, *self.transfer, self.published]
        return [table for table in every if table is not None]
