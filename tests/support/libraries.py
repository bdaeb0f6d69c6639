"""Libraries as they are in tests: a gate, what passes it, and entries written by somebody who can sum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vpt.artifacts.library import Library
from vpt.artifacts.schema import checksum

GATE: dict[str, Any] = {
    "data": {"source": "embedded", "name": "digits"}, "split": "test", "require": {"accuracy": 0.8}, "not_worse": None,
    "images": 30, "digest": "d",
}  # fmt: skip


def begun(url: str | Path, saved: list[Path]) -> Library:
    """A library with a version of one task for each saved task."""
    library = Library(url)
    for folder in saved:
        library.add(folder, "flowers", why="new", by="ann")
    return library


def passed(library: Library, number: int, **more: Any) -> dict[str, Any]:
    """Checks of a version of flowers that passes the gate which is set."""
    state = library.state("flowers")
    facts = {"gate": state.gate and state.gate.number, "digest": state.version("flowers", number).digest}
    found = {"current": state.current_number, "figures": {"accuracy": 0.9}, "against": None, "failed": []}
    return {**facts, **found, "forced": False, **more}


def entry_file(library: Library, number: int) -> Path:
    """Of a library in a folder."""
    return Path(library.url) / "log" / f"{number:08d}.json"


def forge(library: Library, number: int, change: dict[str, Any]) -> None:
    """Change an entry, or write another after the last, with a checksum that agrees."""
    path = entry_file(library, number)
    last = json.loads(entry_file(library, min(number, library.head())).read_text())
    follows = {} if path.exists() else {"number": number, "previous": last["sha256"]}
    content = {**last, **follows, **change}
    path.write_text(json.dumps(content | {"sha256": checksum(content)}))
