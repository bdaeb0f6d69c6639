"""What the user sees: rich on a terminal, plain lines elsewhere; results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager


def note(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout; where that is not a terminal, wide enough that nothing is cut."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 200))
    console.print(drawn, markup=False, highlight=False)


def facts(title: str, content: Mapping[str, str]) -> None:
    """Names and values, one per row."""
    table(["", title], [[name, value] for name, value in content.items()])


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A bar that is told `(done, total)`; None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


@contextmanager
def notes(*, quiet: bool = False) -> Iterator[None]:
    """Show what vpt logs (a head left out, a cache written) as plain lines on stderr."""
    import logging

    log, handler = logging.getLogger("vpt"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
