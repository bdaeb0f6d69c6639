"""A table as data: what every renderer (page, Markdown, LaTeX, terminal) is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from urllib.parse import quote

DASH = "–"


@dataclass(frozen=True)
class Entry:
    """A cell: its text, what stands smaller beside it, where it leads, and how it is shown.

    tone: "best", "up", "down", "warn", "own" or nothing; shown by more than colour wherever it is shown.
    """

    text: str
    small: str = ""
    href: str | None = None
    tone: str = ""

    @property
    def plain(self) -> str:
        """All of it as one text."""
        return f"{self.text} {self.small}".strip()


NOTHING = Entry(DASH)


@dataclass(frozen=True)
class Column:
    """A heading, and the wider heading that it shares with its neighbours."""

    text: str
    group: str = ""

    @property
    def long(self) -> str:
        """Both headings, for where there is one row of them."""
        return f"{self.group}: {self.text}" if self.group else self.text


@dataclass(frozen=True)
class Line:
    """A heading and the entries beside it. anchor: the line's id in the page."""

    head: Entry
    entries: Sequence[Entry]
    anchor: str = ""


@dataclass(frozen=True)
class Body:
    """Lines that belong together, under a title of their own where there is one."""

    lines: Sequence[Line]
    title: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """The first column heads the lines. caption: what the numbers are; notes: what has to be known with them."""

    anchor: str
    title: str
    caption: str
    columns: Sequence[Column]
    bodies: Sequence[Body]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def lines(self) -> list[Line]:
        """Of all bodies."""
        return [line for body in self.bodies for line in body.lines]

    def spans(self) -> list[tuple[str, int]]:
        """The upper heading row: a text and how many columns it covers; empty where no column has a group."""
        spans = [(group, len(list(columns))) for group, columns in groupby(column.group for column in self.columns)]
        return spans if any(group for group, _ in spans) else []

    def plain(self) -> Iterator[list[str]]:
        """Heading and lines as texts."""
        yield [column.text for column in self.columns]
        for line in self.lines:
            yield [line.head.plain, *(entry.plain for entry in line.entries)]


def file_of(trial: str) -> str:
    """Where the page finds a trial's record."""
    return f"../trials/{quote(trial)}.json"


def to(anchor: str) -> str:
    """A place in the page itself."""
    return f"#{anchor}"
