"""The headline: means over tasks, then every task."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.suite.report.cost import cost_of
from benchmarks.suite.report.data import own_splits, routes
from benchmarks.suite.report.results import OF_GROUPS, OF_TASKS, Cell, Measure, Results, Row
from benchmarks.suite.report.statistics import Spread
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.texts import deviation, listed, percent, plural

HIGHEST = "Bold: the highest of its column."


def summary(results: Results) -> Table:
    """Means over tasks, wins and trained parameters, one line per variant."""
    full = results.reference("full")
    columns = [Column("variant"), *(Column(measure.name, "accuracy, %") for measure in results.measures)]
    columns += [Column(f"wins against {full.label}")] if full else []
    columns += [Column("trained parameters"), Column("without head")]
    tops = [_top([row.mean(measure).spread for row in results.rows]) for measure in results.measures]
    lines = []
    for row in results.rows:
        entries = [mean_entry(row, measure, top) for measure, top in zip(results.measures, tops, strict=True)]
        entries += [_wins(row, full)] if full else []
        cost = cost_of(results.records, row)
        entries += [Entry("–" if n is None else f"{n:,.0f}", href=to("cost")) for n in (cost.trained, cost.bare)]
        lines.append(Line(Entry(row.label, href=to(row.anchor)), entries))
    return Table("summary", "Means", _caption(results), columns, [Body(lines)], _summary_notes(results))


def by_task(results: Results) -> Table:
    """Every task, one line per variant."""
    columns = [Column("variant"), *(Column(task.title, task.group) for task in results.tasks)]
    tops = [_top([row.cells[i].spread if row.cells[i].complete else None for row in results.rows])
            for i in range(len(results.tasks))]  # fmt: skip
    lines = []
    for row in results.rows:
        entries = [cell_entry(cell, top) for cell, top in zip(row.cells, tops, strict=True)]
        lines.append(Line(Entry(row.label, href=to(row.anchor)), entries))
    notes = [*_incomplete_cells(results), *_highest(results), *routes(results), *own_splits(results)]
    return Table("tasks", "Every task", _caption(results), columns, [Body(lines)], notes)


def cell_entry(cell: Cell, top: float | None = None) -> Entry:
    """`78.8 ± 0.4`, with `(3 of 5)` where seeds are lacking; it leads to the line of its seeds."""
    if cell.spread is None:
        return Entry("–", f"(0 of {cell.planned})" if cell.planned else "(not planned)", to(cell.anchor))
    lacking = "" if cell.complete else f"({len(cell.seeds)} of {cell.planned})"
    tone = "best" if cell.complete and cell.spread.mean == top else ""
    return Entry(percent(cell.spread.mean), f"{deviation(cell.spread)} {lacking}".strip(), to(cell.anchor), tone)


def mean_entry(row: Row, measure: Measure, top: float | None = None) -> Entry:
    """`69.4 ± 0.2` over the seeds, or a dash where a cell is incomplete; it leads to what it is the mean of."""
    found, anchor = row.mean(measure).spread, anchor_of(row, measure)
    if found is None:
        return Entry("–", href=to(anchor))
    return Entry(percent(found.mean), deviation(found), to(anchor), "best" if found.mean == top else "")


def anchor_of(row: Row, measure: Measure) -> str:
    """Where the page lists the values that a mean is taken of: all of the row, or those of one group."""
    if measure.name in (OF_GROUPS, OF_TASKS):
        return row.anchor
    return f"{row.anchor}-from-{measure.parts[0][0]}"


def _top(spreads: Sequence[Spread | None]) -> float | None:
    """The highest mean, where there is something to compare."""
    means = [found.mean for found in spreads if found is not None]
    return max(means) if len(means) > 1 else None


def _wins(row: Row, full: Row) -> Entry:
    if row is full:
        return NOTHING
    won, of = row.wins(full)
    return Entry(f"{won} of {of}" if of else "–", href=to(row.anchor))


def _caption(results: Results) -> str:
    counts = sorted({cell.planned for row in results.rows for cell in row.cells if cell.planned})
    over = f"over {plural(counts[-1], 'seed')}" if len(counts) == 1 else "over the planned seeds"
    spread = "one seed: no spread is known" if counts == [1] else f"mean ± sample standard deviation {over}"
    return f"Accuracy on the test images after the last epoch, in percent; {spread}."


def _summary_notes(results: Results) -> list[str]:
    notes = [f"{OF_TASKS}: the average over the {plural(len(results.tasks), 'task')}."]
    if (groups := len(results.measures) - 2) > 0:
        notes = [f"{OF_GROUPS}: the average of the {groups} group means. {notes[0]}"]
    if any(cell.planned > 1 for row in results.rows for cell in row.cells):
        notes.append("± of a mean over tasks: the standard deviation, over seeds, of the mean that each seed has.")
    notes += _highest(results)
    if full := results.reference("full"):
        notes.append(f"wins: tasks with a higher mean than {full.label}, of those that both have complete.")
    notes.append("Trained parameters: median over tasks, the head included.")
    for row in results.rows:
        if lacking := [cell.task.title for cell in row.cells if not cell.complete]:
            notes.append(f"{row.label}: incomplete on {listed(lacking)}; no mean is taken without, hence the dashes.")
    return notes + own_splits(results)


def _highest(results: Results) -> list[str]:
    return [HIGHEST] if len(results.rows) > 1 else []


def _incomplete_cells(results: Results) -> list[str]:
    if all(row.complete for row in results.rows):
        return []
    return ["(k of n): only k of the n planned seeds were trained to their end; what became of the others is listed "
            "under Outcomes."]  # fmt: skip
