"""Published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.fewshot.published import ALIKE, BACKBONE, FILE, published
from benchmarks.fewshot.report.tables.entries import UNPLANNED, harmonic_means, means
from benchmarks.suite.report.data import routes
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table
from benchmarks.suite.report.tables.published import backbone_of
from benchmarks.suite.report.tables.texts import percent, plural

DATASETS = 11


def beside(records: Records, shots: Mapping[int, Results], base: Mapping[str, Results]) -> Table | None:
    """Per method the published line and then ours; None where nothing of the plan was published."""
    ours = {f"shots-{k}": means(results) for k, results in shots.items()}
    ours |= {name: means(results) for name, results in base.items() if name != "h"}
    if base:
        ours["h"] = harmonic_means(base)
    figures = [name for name in (*base, *(f"shots-{k}" for k in shots)) if name in ours]
    bodies = []
    for method, facts in published().items():
        rows = [variant.label for variant in records.variants if variant.method == method]
        if not rows or not facts.figures.keys() & set(figures):
            continue
        known = [facts.figures.get(name) for name in figures]
        theirs = [NOTHING if value is None else Entry(percent(value), href=FILE.name) for value in known]
        lines = [Line(Entry(facts.name, f"published: {facts.source}", FILE.name), theirs)]
        lines += [Line(Entry(label, "ours", tone="own"), [ours[n].get(label, UNPLANNED) for n in figures])
                  for label in rows]  # fmt: skip
        bodies.append(Body(lines))
    if not bodies:
        return None
    columns = [Column("method"), *(_column(name) for name in figures)]
    tasks = {task for results in (*shots.values(), *base.values()) for task in results.tasks}
    caption = (
        f"Published: {BACKBONE}, means over the {DATASETS} datasets of CoOp's few-shot experiments. Ours: "
        f"{backbone_of(records)}, means over {plural(len(tasks), 'task')}."
    )
    return Table("published", "Published figures beside ours", caption, columns, bodies, _notes(records, shots, base))


def _column(figure: str) -> Column:
    if figure.startswith("shots-"):
        return Column(figure.removeprefix("shots-"), "images per class")
    return Column("H" if figure == "h" else figure, "base to new")


def _notes(records: Records, shots: Mapping[int, Results], base: Mapping[str, Results]) -> list[str]:
    notes = ["Other sources have up to a point more or less for the same method.",
             "Published trainings crop and flip their images at random; ours see them unchanged."]  # fmt: skip
    backbone = backbone_of(records)
    if not all(part.lower() in backbone.lower() for part in ALIKE):
        notes.insert(0, f"Another backbone: ours is {backbone}; two measurements of different things.")
    results = next((r for r in (*shots.values(), *base.values())), None)
    return notes + (routes(results) if results else [])
