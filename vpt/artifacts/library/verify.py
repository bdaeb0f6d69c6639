"""Whether all of a library is what its log says."""

from __future__ import annotations

from vpt.artifacts.library.content import faults, place
from vpt.artifacts.library.entry import Entry
from vpt.artifacts.library.log import Log, name_of
from vpt.artifacts.library.state import fold
from vpt.artifacts.library.store import Store
from vpt.errors import ArtifactError


def verify(log: Log, store: Store) -> list[str]:
    """Every fault of the log, and of the files of each version that a readable entry names."""
    entries, found = log.check()
    if not found:
        try:
            fold(entries)
        except ArtifactError as error:
            found = [str(error)]
    for entry in _added(entries):
        folder = place(entry.task, entry.facts["digest"])
        content = store.read([f"{folder}/{name}" for name in entry.facts["files"]])
        wrong = faults(content, folder, entry.facts["files"], store.at(folder))
        found += [f"{entry.task} {entry.version}: {line}" for line in wrong]
    return found


def orphans(log: Log, store: Store) -> list[str]:
    """Files that no entry names. They are listed before the log is read: whoever adds one is sure to be found in it."""
    there = store.files("")
    entries = log.entries()
    named = {name_of(entry.number) for entry in entries}
    for entry in _added(entries):
        named |= {f"{place(entry.task, entry.facts['digest'])}/{name}" for name in entry.facts["files"]}
    return [name for name in there if name not in named]


def _added(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.action == "add"]
