"""All that a report says, before it is set in any form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from benchmarks.suite.report.charts.axis import ablation, lengths
from benchmarks.suite.report.charts.canvas import Chart
from benchmarks.suite.report.charts.gains import gains
from benchmarks.suite.report.charts.groups import groups
from benchmarks.suite.report.charts.parameters import parameters
from benchmarks.suite.report.outcomes import Outcomes, outcomes
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import Table
from benchmarks.suite.report.tables.accuracy import by_task, summary
from benchmarks.suite.report.tables.costs import costs
from benchmarks.suite.report.tables.differences import differences
from benchmarks.suite.report.tables.published import published
from benchmarks.suite.report.tables.searches import edges, searches
from benchmarks.suite.report.tables.sources import sources
from benchmarks.suite.report.tables.values import values


@dataclass(frozen=True)
class Contents:
    """Tables, charts and outcomes, each made when it is asked for.

    What does not apply (no reference, nothing published, nothing searched) is None or empty.
    """

    results: Results

    @property
    def title(self) -> str:
        """The suite's, with the ablation or the preset."""
        plan = self.results.records.plan
        told = plan.get("ablation")
        return f"{self.results.suite.title}: {(told.get('title') or told['name']) if told else plan['preset']}"

    @property
    def about(self) -> list[str]:
        """What was asked: a sentence on the protocol, and one on the ablation where the plan is one."""
        plan = self.results.records.plan
        return [line for line in (plan["about"], (plan.get("ablation") or {}).get("about")) if line]

    @cached_property
    def outcomes(self) -> Outcomes:
        """What became of the trials without a number."""
        return outcomes(self.results.records)

    @cached_property
    def summary(self) -> Table:
        """Means over tasks."""
        return summary(self.results)

    @cached_property
    def tasks(self) -> Table:
        """Every task."""
        return by_task(self.results)

    @cached_property
    def differences(self) -> list[Table]:
        """One table per reference that has something to be compared with."""
        references = [row for row in self.results.references() if self.results.others(row)]
        return [differences(self.results, reference) for reference in references]

    @cached_property
    def published(self) -> Table | None:
        """Figures of others beside ours."""
        return published(self.results)

    @cached_property
    def cost(self) -> Table:
        """Parameters, time, memory."""
        return costs(self.results)

    @cached_property
    def searches(self) -> list[Table]:
        """One table per variant that was searched."""
        return [table for row in self.results.rows if (table := searches(self.results, row)) is not None]

    @cached_property
    def edges(self) -> int:
        """How many choices lie at an edge of their grid."""
        return sum(map(edges, self.searches))

    @cached_property
    def values(self) -> list[Table]:
        """Every value, one table per variant."""
        return [values(self.results, row) for row in self.results.rows]

    @cached_property
    def data(self) -> Table:
        """Where each task's images came from."""
        return sources(self.results)

    @cached_property
    def charts(self) -> list[Chart]:
        """Those of means over tasks."""
        drawn = [draw(self.results) for draw in (ablation, lengths, parameters, groups)]
        return [chart for chart in drawn if chart is not None]

    @cached_property
    def gains(self) -> Chart | None:
        """The chart of differences."""
        return gains(self.results)

    @property
    def pictures(self) -> list[Chart]:
        """Every chart."""
        return [*self.charts, *([self.gains] if self.gains else [])]
