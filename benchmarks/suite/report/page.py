"""The report as one self-contained HTML page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suite.report.contents import Contents
from benchmarks.suite.report.facts import facts, settings
from benchmarks.suite.report.tables.texts import plural

if TYPE_CHECKING:
    from jinja2 import Template


def page(contents: Contents) -> str:
    """The whole page, charts and style inside; it loads nothing and runs no script."""
    records, published = contents.results.records, contents.results.suite.published
    return _template().render(
        report=contents, sections=_sections(contents), at_edges=_at_edges(contents),
        published_file=published.file.name if published else "", facts=facts(records), settings=settings(records),
    )  # fmt: skip


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.get_template("page.html.j2")


def _sections(contents: Contents) -> list[tuple[str, str]]:
    """Anchor and name of each section that the page has."""
    every: list[tuple[str, str, Any]] = [
        ("summary", "Means", True), ("tasks", "Every task", True), ("differences", "Differences", contents.differences),
        ("published", "Published", contents.published), ("cost", "Cost", True), ("outcomes", "Outcomes", True),
        ("search", "Search", contents.searches), ("values", "Every value", True), ("data", "Data", True),
        ("run", "What was run", True),
    ]  # fmt: skip
    return [(anchor, name) for anchor, name, there in every if there]


def _at_edges(contents: Contents) -> str:
    cells = sum(len(table.lines) for table in contents.searches)
    return f"{contents.edges} of {plural(cells, 'choice')}"
