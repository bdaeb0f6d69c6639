"""A table of the report, and what its cells share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Table:
    """A title, a note on what the numbers are, and lines of cells; the first line is the heading."""

    title: str
    note: str
    lines: list[list[str]]


def ratio_to(base: str) -> Callable[[Mapping[str, Any]], str]:
    """What writes a figure's ratio to a base, with the quartiles of the rounds."""

    def shown(figure: Mapping[str, Any]) -> str:
        if base not in figure["ratios"]:
            return "–"
        low, high = figure["ratios"][base]["quartiles"]
        return f"{figure['ratios'][base]['ratio']:.2f} ({low:.2f}–{high:.2f})"

    return shown


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table's lines, its heading first, as Markdown."""
    rows = [" | ".join(line) for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]]]
    return "\n".join(f"| {row} |" for row in rows) + "\n"


def show(made: Iterable[Table]) -> None:
    """The tables on the terminal."""
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as Drawn

    for content in made:
        columns = (Column(name, overflow="fold") for name in content.lines[0])
        drawn = Drawn(*columns, title=content.title, caption=content.note)
        for line in content.lines[1:]:
            drawn.add_row(*line)
        Console().print(drawn)
