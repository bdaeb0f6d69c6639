"""What each variant costs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.suite.report.cost import cost_of
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.texts import duration, memory


def costs(results: Results) -> Table:
    """Parameters, time and memory, one line per variant."""
    columns = [
        Column("variant"), Column("with head", "trained parameters"), Column("without head", "trained parameters"),
        Column("share of all", "trained parameters"), Column("per run", "time"), Column("per epoch", "time"),
        Column("all searches", "time"), Column("all final runs", "time"), Column("peak memory"),
    ]  # fmt: skip
    found = [(row, cost_of(results.records, row)) for row in results.rows]
    lines = []
    for row, cost in found:
        share = cost.trained / cost.every if cost.trained is not None and cost.every else None
        texts = [
            _text(cost.trained, "{:,.0f}".format), _text(cost.bare, "{:,.0f}".format), _text(share, "{:.2%}".format),
            _text(cost.run, duration), _text(cost.epoch, duration), _text(cost.searching or None, duration),
            _text(cost.training or None, duration), _text(cost.memory, memory),
        ]  # fmt: skip
        entries = [NOTHING if text is None else Entry(text, href=to(row.anchor)) for text in texts]
        lines.append(Line(Entry(row.label, href=to(row.anchor)), entries))
    caption = (
        "Trained parameters: median over tasks. Time per run and per epoch: median over final runs. Peak memory: the "
        "largest of the final runs. Searches and final runs in all: failed and diverged ones included."
    )
    shared = [f"{row.label} (up to {cost.together} at once)" for row, cost in found if cost.together > 1]
    notes = [f"Trained side by side, each trial with its share of the time: {', '.join(shared)}."] if shared else []
    notes += machines(results.records)
    return Table("cost", "Cost", caption, columns, [Body(lines)], notes)


def _text(value: float | None, shown: Callable[[float], str]) -> str | None:
    return None if value is None else shown(value)


def machines(records: Records) -> list[str]:
    """A warning where times come from more than one machine."""
    found = records.found.values()
    machines = {(r.get("device"), (r.get("cost") or {}).get("host")) for r in found if r.get("device")}
    if len(machines) < 2:
        return []
    return [f"Measured on {len(machines)} different machines or devices: times and memory are not all comparable."]
