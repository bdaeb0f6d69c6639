"""The report as one self-contained HTML page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suite.report.contents import Contents
from benchmarks.suite.report.facts import facts, settings
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.tables.texts import plural

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent


def page(contents: Contents) -> str:
    """The whole page, charts and style inside; it loads nothing and runs no script."""
    published = contents.results.suite.published
    file = published.file.name if published else ""
    return render(HERE / "page.html.j2", contents.results.records, _sections(contents), report=contents,
                  at_edges=_at_edges(contents), published_file=file)  # fmt: skip


def render(template: Path, records: Records, sections: list[tuple[str, str]], **more: Any) -> str:
    """A page of the frame that all suites have, by a template of its own. sections: anchor and name of each."""
    return _template(template).render(sections=sections, facts=facts(records), settings=settings(records), **more)


@cache
def _template(path: Path) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = FileSystemLoader([path.parent, HERE])
    made = Environment(loader=places, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.get_template(path.name)


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
