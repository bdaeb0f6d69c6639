"""From a benchmark folder to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suite.report.charts.canvas import Chart
from benchmarks.suite.report.contents import Contents
from benchmarks.suite.report.latex import latex
from benchmarks.suite.report.markdown import document
from benchmarks.suite.report.page import page
from benchmarks.suite.report.records import read
from benchmarks.suite.report.results import compute
from benchmarks.suite.report.suite import Suite
from benchmarks.suite.report.tables.accuracy import HIGHEST
from benchmarks.suite.report.tidy import tidy
from vpt.runs import console
from vpt.training.files import write_atomically

REPORT = "report"
TRANSPOSED = 10
"""With more columns than this, the terminal gets a line per task."""


@dataclass(frozen=True)
class Report:
    """What a report says at a terminal. counts: trials that are planned, done, diverged, failed, missing, damaged."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    notes: list[str]
    counts: Mapping[str, int]
    page: Path


def write_report(folder: Path, suite: Suite) -> Report:
    """Write `report/` in `folder`: page, tables, charts; from the files there alone, also from some of the trials.

    Raises `OptionError` where there is no plan, and for files of another version of vpt.
    """
    made, out = Contents(compute(read(folder), suite)), folder / REPORT
    files: dict[str, str | bytes] = {
        "table.md": _document(made), "table.csv": tidy(made.results),
        "table.tex": latex(made.summary) + "\n" + latex(made.tasks), "index.html": page(made),
    }  # fmt: skip
    if suite.published and made.published:
        files[suite.published.file.name] = suite.published.file.read_bytes()
    leave(out, files, made.pictures)
    return _at_a_terminal(made, out / "index.html")


def leave(out: Path, files: Mapping[str, str | bytes], charts: Sequence[Chart]) -> None:
    """Write the files and charts of a report; charts of an earlier one, whose plan was another, go."""
    pictures = {f"{chart.name}.svg": chart.svg for chart in charts}
    for name, text in {**pictures, **files}.items():
        write_atomically(out / name, text)
    for path in set(out.glob("*.svg")) - {out / name for name in pictures}:
        path.unlink()


def show(report: Report) -> None:
    """Print the table and its notes."""
    console.table(report.headings, report.rows, title=report.title)
    for note in report.notes:
        print(note)
    print(f"Page: {report.page}")


def _document(made: Contents) -> str:
    tables = [made.summary, made.tasks, *made.differences, *([made.published] if made.published else []), made.cost]
    counted = made.outcomes.in_words()
    opening = [*made.about, f"{counted} In full: index.html; the numbers, one line per variant "
               "and task and in full precision: table.csv."]  # fmt: skip
    return document(made.title, opening, [*tables, made.data])


def _at_a_terminal(made: Contents, written: Path) -> Report:
    """Tasks, then means and parameters."""
    tasks, means = list(made.tasks.plain()), list(made.summary.plain())
    lines = [task + mean[1:] for task, mean in zip(tasks, means, strict=True)]
    if len(lines[0]) > TRANSPOSED:
        lines = [list(column) for column in zip(*lines, strict=True)]
    notes = [note for note in dict.fromkeys([*made.summary.notes, *made.tasks.notes]) if note != HIGHEST]
    notes = [made.summary.caption, *notes, made.outcomes.in_words()]
    return Report(made.title, lines[0], lines[1:], notes, made.outcomes.counts, written)
