"""Whether all of a library is what its log says, and what lies in it that the log does not name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from vpt.artifacts.library.content import FILES, FOLDER, digest_of, faults, files_of, place
from vpt.artifacts.library.entry import Entry
from vpt.artifacts.library.log import Log, name_of
from vpt.artifacts.library.state import fold
from vpt.artifacts.library.store import Store
from vpt.errors import ArtifactError


def verify(log: Log, store: Store) -> list[str]:
    """Every fault of the log, and of the files of each version that a readable entry names.

    Where the log is without any, the whole saved tasks that it does not name are faults, too.
    """
    there = store.files(FOLDER)  # before the log is read, as in `orphans`
    entries, found = log.check()
    if not found:
        found = [*_contradiction(entries), *_forgotten(entries, there, store)]
    for entry in _added(entries):
        folder = place(entry.task, entry.facts["digest"])
        content = store.read([f"{folder}/{name}" for name in entry.facts["files"]])
        wrong = faults(content, folder, entry.facts["files"], store.at(folder))
        found += [f"{entry.task} {entry.version}: {line}" for line in wrong]
    return found


def orphans(log: Log, store: Store) -> list[str]:
    """Files that no entry names. They are listed before the log is read: whoever adds one is sure to be found in it."""
    there = store.files("")
    known = named(log.entries())
    return [name for name in there if name not in known]


def named(entries: Iterable[Entry]) -> set[str]:
    """The files of a log, and those that it names."""
    known = set()
    for entry in entries:
        known.add(name_of(entry.number))
        if entry.action == "add":
            known |= {f"{place(entry.task, entry.facts['digest'])}/{name}" for name in entry.facts["files"]}
    return known


def unnamed(orphans: Collection[str], store: Store) -> list[str]:
    """The folders in which orphans are a whole saved task: they have the digest that the folder is called by."""
    found = []
    for folder in sorted({name.rpartition("/")[0] for name in orphans}):
        content = store.read([f"{folder}/{name}" for name in FILES if f"{folder}/{name}" in orphans])
        files = files_of({name.removeprefix(f"{folder}/"): data for name, data in content.items()})
        if digest_of(files) == folder.rpartition("/")[2]:
            found.append(folder)
    return found


def _contradiction(entries: Sequence[Entry]) -> list[str]:
    try:
        fold(entries)
    except ArtifactError as error:
        return [str(error)]
    return []


def _forgotten(entries: Sequence[Entry], there: Iterable[str], store: Store) -> list[str]:
    said = (
        "is a saved task that no entry names: it was being added, or the log lost its end; add it again, or delete it"
    )
    return [f"{store.at(folder)} {said}" for folder in unnamed({*there} - named(entries), store)]


def _added(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.action == "add"]
