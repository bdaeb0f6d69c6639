"""From a benchmark folder to its report."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fewshot.published import FILE
from benchmarks.fewshot.report.contents import Contents
from benchmarks.fewshot.report.tables.entries import UNPLANNED
from benchmarks.fewshot.report.tidy import tidy
from benchmarks.suite.report.latex import latex
from benchmarks.suite.report.markdown import document
from benchmarks.suite.report.page import render
from benchmarks.suite.report.records import read
from benchmarks.suite.report.suite import Suite
from benchmarks.suite.report.write import REPORT, Report, leave

TEMPLATE = Path(__file__).with_name("page.html.j2")
SUITE = Suite("Few-shot learning with CLIP")


def write(folder: Path) -> Report:
    """Write `report/` in `folder`: page, tables, charts; from the files there alone, also from some of the trials.

    Raises `OptionError` where there is no plan, and for files of another version of vpt.
    """
    made, out = Contents(SUITE, read(folder)), folder / REPORT
    page = render(TEMPLATE, made.records, _sections(made), report=made, published_file=FILE.name)
    files: dict[str, str | bytes] = {
        "table.md": _document(made), "table.csv": tidy(made.parts), "index.html": page,
        "table.tex": "\n".join(latex(table) for table in made.tables if table is not made.published),
    }  # fmt: skip
    if made.published:
        files[FILE.name] = FILE.read_bytes()
    leave(out, files, list(made.charts.values()))
    return _at_a_terminal(made, out / "index.html")


def _sections(made: Contents) -> list[tuple[str, str]]:
    """Anchor and name of each section that the page has."""
    every = [
        ("shots", "Shots", made.by_shots), ("tasks", "Every task", made.tasks),
        ("base-to-new", "Base to new", made.generalisation), ("transfer", "Transfer", made.transfer),
        ("published", "Published", made.published), ("cost", "Cost", True), ("outcomes", "Outcomes", True),
        ("values", "Every value", True), ("data", "Data", True), ("run", "What was run", True),
    ]  # fmt: skip
    return [(anchor, name) for anchor, name, there in every if there]


def _document(made: Contents) -> str:
    counted = made.outcomes.in_words()
    opening = [*made.about, f"{counted} In full: index.html; the numbers, one line per method, measurement and task "
               "and in full precision: table.csv."]  # fmt: skip
    return document(made.title, opening, [*made.tables, made.cost, made.data])


def _at_a_terminal(made: Contents, written: Path) -> Report:
    """Accuracy by shots, then base, new and H."""
    tables = [table for table in (made.by_shots, made.generalisation) if table is not None] or made.transfer
    columns = [column for table in tables for column in table.columns[1:]]
    head = ["method", *(f"{c.text} shots" if c.group == "images per class" else c.text for c in columns)]
    found = [{line.head.text: line.entries for line in table.bodies[0].lines} for table in tables]
    blank = [[UNPLANNED] * (len(table.columns) - 1) for table in tables]
    rows = [
        [v.label, *(e.plain for own, none in zip(found, blank, strict=True) for e in own.get(v.label, none))]
        for v in made.records.variants
    ]
    notes = [tables[0].caption, *dict.fromkeys(note for table in tables for note in table.notes)]
    return Report(made.title, head, rows, [*notes, made.outcomes.in_words()], made.outcomes.counts, written)
