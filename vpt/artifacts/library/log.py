"""The log of a library: numbered entries, each with the digest of the one before. It is all the truth there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vpt.artifacts.library.entry import Entry, parse
from vpt.artifacts.library.store import Store
from vpt.errors import ArtifactError

FOLDER = "log"


def name_of(number: int) -> str:
    """The file of an entry."""
    return f"{FOLDER}/{number:08d}.json"


class Log:
    """Entries 1 to n. What was read once is not read again: an entry never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: list[Entry] = []

    def entries(self) -> list[Entry]:
        """All entries so far. Raises `ArtifactError` naming the first that is missing, damaged or out of the chain."""
        known = list(self._known)
        head = self._head()
        if head < len(known):
            raise ArtifactError(f"{self._store.url}: the log had {len(known)} entries, and has {head} now")
        found, faults = self._read(known, head)
        if faults:
            raise ArtifactError(faults[0])
        self._known = found
        return found

    def check(self) -> tuple[list[Entry], list[str]]:
        """Everything read anew: the entries that can be read, and every fault."""
        return self._read([], self._head())

    def empty(self) -> bool:
        """Whether there is no entry, readable or not."""
        return self._head() == 0

    def append(self, make: Callable[[Sequence[Entry]], Entry | None]) -> Entry | None:
        """Add what `make` answers to the entries so far, or nothing where it answers None.

        `make` gives the entry the next number; where another writer was quicker it is asked again.
        Raises `ArtifactError` where the last entry that was read is another one now.
        """
        while True:
            self._check_last()
            entry = make(self.entries())
            if entry is None:
                return None
            if self._store.create(name_of(entry.number), entry.to_bytes()):
                return entry
            entries = self.entries()
            if len(entries) < entry.number:
                raise ArtifactError(f"{self._store.at(name_of(entry.number))} is there, and is not listed; try again")
            if entries[entry.number - 1] == entry:  # it was made, and the answer got lost on the way
                return entry

    def _check_last(self) -> None:
        """A log that lost its end and grew again has as many entries; one that follows the old end would break it."""
        if not self._known:
            return
        last = self._known[-1]
        name = name_of(last.number)
        if self._entry(last.number, self._store.read([name])) != last:
            raise ArtifactError(
                f"{self._store.at(name)} is another entry than it was: the log was changed behind its end"
            )

    def _head(self) -> int:
        numbers = [re.fullmatch(r"(\d{8,})\.json", name) for name in self._store.listed(FOLDER)]
        return max((int(match[1]) for match in numbers if match), default=0)

    def _read(self, known: Sequence[Entry], head: int) -> tuple[list[Entry], list[str]]:
        """`known`, the entries after them up to `head`, and what is wrong with these."""
        found, faults = list(known), []
        contents = self._store.read([name_of(number) for number in range(len(known) + 1, head + 1)])
        for number in range(len(known) + 1, head + 1):
            try:
                entry = self._entry(number, contents)
            except ArtifactError as error:
                faults.append(str(error))
                continue
            before = found[-1] if found else None
            if (before.number if before else 0) == number - 1 and entry.previous != (before.sha256 if before else ""):
                faults.append(f"{self._store.at(name_of(number))} does not follow the entry before: one was exchanged")
            found.append(entry)
        return found, faults

    def _entry(self, number: int, contents: dict[str, bytes]) -> Entry:
        name = name_of(number)
        if name not in contents:
            raise ArtifactError(f"{self._store.at(name)} is missing")
        entry = parse(self._store.at(name), contents[name])
        if entry.number != number:
            raise ArtifactError(f"{self._store.at(name)} is entry {entry.number}, misplaced")
        return entry
