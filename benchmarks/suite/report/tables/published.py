"""Published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.suite.report.data import by_route, own_splits, which
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import Results, Row
from benchmarks.suite.report.statistics import mean_of_means
from benchmarks.suite.report.suite import Published
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.accuracy import cell_entry, mean_entry
from benchmarks.suite.report.tables.texts import percent


def published(results: Results) -> Table | None:
    """Per method the published line and then ours; None where nothing of the plan was published."""
    facts = results.suite.published
    tasks = {task.name for task in results.tasks}
    if facts is None:
        return None
    shared = {m: a for m, a in facts.accuracies.items() if tasks & a.keys() and results.reference(m) is not None}
    if not shared:
        return None
    columns = [Column("method"), *(Column(measure.name, "means") for measure in results.measures)]
    columns += [Column(task.title, task.group) for task in results.tasks]
    bodies = []
    for method, accuracies in shared.items():
        ours = [_ours(results, row) for row in results.rows if row.variant.method == method]
        bodies.append(Body([_theirs(results, facts, method, accuracies), *ours]))
    caption = (
        f"Published: {facts.backbone}; data by {facts.route}. {_us(results)} "
        "Where backbone, data or split differ, two numbers are two measurements of different things."
    )
    notes = [*facts.notes, *_cautions(results, facts), *own_splits(results), f"Source: {facts.source}."]
    return Table("published", "Published figures beside ours", caption, columns, bodies, notes)


def _theirs(results: Results, facts: Published, method: str, accuracies: Mapping[str, float]) -> Line:
    values = [accuracies.get(task.name) for task in results.tasks]
    means = [[[values[index] for index in part] for part in measure.parts] for measure in results.measures]
    entries = []
    for parts in means:
        known = [[value for value in part if value is not None] for part in parts]
        entries.append(_fact(facts, mean_of_means(known) if known == parts else None))
    entries += [_fact(facts, value) for value in values]
    return Line(Entry(facts.names.get(method, method), "published", facts.file.name), entries)


def _ours(results: Results, row: Row) -> Line:
    entries = [mean_entry(row, measure) for measure in results.measures] + [cell_entry(cell) for cell in row.cells]
    return Line(Entry(row.label, "ours", to(row.anchor), "own"), entries)


def _fact(facts: Published, value: float | None) -> Entry:
    return NOTHING if value is None else Entry(percent(value), href=facts.file.name)


def _us(results: Results) -> str:
    data = ", ".join(by_route(results)) or "a route that no record says yet"
    return f"Ours: {backbone_of(results.records)}; data by {data}."


def _cautions(results: Results, facts: Published) -> list[str]:
    backbone = backbone_of(results.records)
    cautions = []
    if not all(part in backbone for part in facts.alike):
        cautions.append(f"Another backbone: ours is {backbone}.")
    for route, tasks in by_route(results).items():
        if route not in facts.routes:
            on = which(results, tasks)
            cautions.append(f"Another data route, whose images are not the same: {route}, on {on}.")
    return cautions


def backbone_of(records: Records) -> str:
    """Name and checkpoint, as the plan has them."""
    told = records.plan["settings"].get("backbone") or {}
    name, checkpoint = told.get("name", "unknown"), told.get("checkpoint")
    random = "" if told.get("pretrained", True) else ", random weights"
    return f"{name} ({checkpoint})" if checkpoint else f"{name}{random}"
