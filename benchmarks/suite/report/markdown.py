"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.suite.report.table import Entry, Table


def escape(text: str) -> str:
    """Text that Markdown shows as it stands, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", " ".join(text.splitlines()))


def markdown(table: Table) -> str:
    """Title, caption, table and notes."""
    heads = [escape(column.long) for column in table.columns]
    lines = [[_entry(line.head), *map(_entry, line.entries)] for line in table.lines]
    rule = [":---", *["---:"] * (len(heads) - 1)]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *lines])
    notes = "\n".join(f"- {escape(note)}" for note in table.notes)
    return "\n\n".join(part for part in (f"## {escape(table.title)}", escape(table.caption), rows, notes) if part)


def document(title: str, opening: Sequence[str], tables: Sequence[Table]) -> str:
    """A whole report."""
    return "\n\n".join([f"# {escape(title)}", *map(escape, opening), *map(markdown, tables)]) + "\n"


def _entry(entry: Entry) -> str:
    return f"**{escape(entry.text)}** {escape(entry.small)}".strip() if entry.tone == "best" else escape(entry.plain)
