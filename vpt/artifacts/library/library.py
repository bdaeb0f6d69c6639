"""`Library`: versions of saved tasks, approved and rolled back, with a log of who did what, when and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vpt.artifacts.library.content import FILES, FOLDER, Files, describe, faults, place, read_whole
from vpt.artifacts.library.entry import TASK, Entry, check, now, somebody
from vpt.artifacts.library.log import FOLDER as LOG
from vpt.artifacts.library.log import Log
from vpt.artifacts.library.state import TaskState, Version, apply, fold, of_task
from vpt.artifacts.library.store import Store, store_of
from vpt.artifacts.library.verify import named, orphans, unnamed, verify
from vpt.artifacts.save import jsonable
from vpt.errors import ArtifactError, OptionError, some


class Library:
    """Saved tasks at `url`: a folder, or a URL of any file system that fsspec knows (`s3://bucket/tasks`).

    A version is a draft until it is approved, and may be retired. The current one, which is served, is the one that
    was approved last of those not retired since: approving makes current, retiring the current one or rolling it back
    makes the one approved before it current again.

    Every change is one entry of a log that only grows, each with the digest of the one before, and the log is all that
    states follow from. Any number of writers, on any number of machines, may change a library at once: one that comes
    second looks again at what may be done (but see `vpt.artifacts.library.store`). A kill at any moment leaves the
    library as it was before or as it is afterwards, with files that nothing names at most (see `orphans`).

    Every method raises `ArtifactError` where the place is no library, is damaged or cannot be read or written, and
    `OptionError` for tasks and versions that it does not have, and for what its rules forbid.
    by: who; by default `user@host`.
    """

    def __init__(self, url: str | Path) -> None:
        """Raises `OptionError` for a URL that fsspec cannot open. Nothing is read or written yet."""
        self.url = str(url)
        self._store = store_of(self.url)
        self._log = Log(self._store)

    def tasks(self) -> list[str]:
        """Names of the tasks, sorted."""
        return list(self.states())

    def states(self) -> dict[str, TaskState]:
        """Versions, approvals and gate of every task, by name, sorted: all of one look at the log."""
        return dict(sorted(fold(self._entries()).items()))

    def state(self, task: str) -> TaskState:
        """Those of one task."""
        return of_task(self.states(), task)

    def versions(self, task: str) -> list[Version]:
        """All versions of a task, 1 first."""
        return self.state(task).versions

    def version(self, task: str, number: int) -> Version:
        """One version."""
        return self.state(task).version(task, number)

    def current(self, task: str) -> Version | None:
        """The version that is served; None where none is approved."""
        return self.state(task).current

    def standing(self) -> dict[str, Version]:
        """The current version of every task that has one, by task, sorted: all of one look at the log."""
        return {task: state.current for task, state in self.states().items() if state.current is not None}

    def gate(self, task: str) -> Entry | None:
        """The entry that set what an approval takes (`facts["gate"]`); None where there is no gate."""
        return self.state(task).gate

    def log(self, task: str | None = None) -> list[Entry]:
        """All entries, or those of a task, in order."""
        entries = self._entries()
        tasks = fold(entries)
        if task is not None:
            of_task(tasks, task)
        return [entry for entry in entries if task in (None, entry.task)]

    def head(self) -> int:
        """Number of the last entry: it changes whenever anything does."""
        entries = self._entries()
        fold(entries)
        return len(entries)

    def add(
        self, folder: Path | str, task: str, *, why: str = "", by: str | None = None, origin: int | None = None
    ) -> Version:
        """Add the task saved in `folder` as a draft, and begin the library where there is none.

        What is a version of the task already is not added again: that version is the answer, and its files, had they
        been damaged or lost, are whole again.
        origin: the version that this one was retrained from.
        Raises `ArtifactError` for a damaged artefact, `OptionError` for a name that is no safe file name.
        """
        if not TASK.fullmatch(task):
            raise OptionError(
                f"task name {task!r}; accepted: up to 100 letters and digits of ASCII and - _ . with no dot first"
            )
        content, manifest = read_whole(Path(folder))
        facts = {**describe(content, manifest), "origin": origin}
        if not self._log.entries():
            self._check_place()
            self._store.probe(LOG)
        for name, data in content.items():
            self._store.put(f"{place(task, facts['digest'])}/{name}", data)

        def one_more(tasks: Mapping[str, TaskState]) -> tuple[int, dict[str, Any]] | None:
            if _having(tasks, task, facts["digest"]) is not None:
                return None
            return len(tasks[task].versions) + 1 if task in tasks else 1, facts

        self._append("add", task, one_more, why, by)
        return next(version for version in self.versions(task) if version.digest == facts["digest"])

    def approve(
        self, task: str, number: int, *, why: str = "", by: str | None = None, checks: Mapping[str, Any] | None = None
    ) -> Version:
        """Make a version current: a draft, one that was approved before, or a retired one, which is so brought back.

        checks: what `vpt.runs.gate.check` found; a task with a gate is not approved without that of this very version,
        nor where it failed and is not forced, nor where another version is current now than it was compared with.
        """
        facts = {"checks": None if checks is None else dict(checks)}
        self._append("approve", task, lambda _: (number, facts), why, by)
        return self.version(task, number)

    def retire(self, task: str, number: int, *, why: str, by: str | None = None) -> Version:
        """Withdraw a version. Where it is the current one, that approved before it is current then, or none."""
        self._append("retire", task, lambda _: (number, {}), why, by)
        return self.version(task, number)

    def rollback(self, task: str, *, why: str, by: str | None = None) -> Version:
        """Retire the current version, and answer with the one approved before it, current again.

        Of two who roll back at once one is refused, so that they go back one version and not two.
        """
        approved = self.state(task).approved
        if len(approved) < 2:
            raise OptionError(f"{task} has {len(approved)} approved versions; to go back takes two")
        back, withdrawn = approved[-2:]
        self._append("rollback", task, lambda _: (withdrawn, {"to": back}), why, by)
        return self.version(task, back)

    def set_gate(self, task: str, gate: Mapping[str, Any] | None, *, why: str = "", by: str | None = None) -> None:
        """Set what an approval takes from now on, JSON-able (see `vpt.runs.gate`), or None to take nothing."""
        self._append("gate", task, lambda _: (0, {"gate": None if gate is None else dict(gate)}), why, by)

    def open(self, task: str, number: int) -> Path:
        """A folder for `vpt.load` with the files of a version, each checked against the log.

        It is the library's own, or, of a library that is no folder, a copy in `$XDG_CACHE_HOME/vpt/library`, by default
        `~/.cache/vpt/library`, which is made once.
        """
        version = self.version(task, number)
        source = place(task, version.digest)
        if self._store.folder is not None:
            self._read(self._store, source, version.files)
            return self._store.folder / source
        cache = store_of(str(_cache()))
        try:
            self._read(cache, version.digest, version.files)
        except ArtifactError:  # not there yet, or damaged since
            for name, data in self._read(self._store, source, version.files).items():
                cache.put(f"{version.digest}/{name}", data)
        return _cache() / version.digest

    def verify(self) -> list[str]:
        """Every fault of the log and of the files that it names, all read anew; none where all is well.

        A fault is a whole saved task that the log does not name, too: it was being added, or the log lost its end.
        """
        if self._log.empty():
            raise self._no_library()
        return verify(self._log, self._store)

    def orphans(self) -> list[str]:
        """Files that the log does not name: what interrupted writers left, and those at work just now.

        Raises `ArtifactError` where the log is damaged, since what it does not name might then be all there is.
        """
        self.states()
        return orphans(self._log, self._store)

    def clean(self, older: float = 3600) -> list[str]:
        """Delete orphans older than so many seconds, which nobody is writing any more, and answer with their names.

        Whole saved tasks are kept: add them again, or delete their folders. Who adds one just now writes its files
        anew, so that the age of each is looked at, and the log, right before it is deleted.
        """
        left = set(self.orphans())
        kept = {f"{folder}/{name}" for folder in unnamed(left, self._store) for name in FILES}
        doomed = [name for name in sorted(left - kept) if self._store.age(name) >= older]
        return [name for name in doomed if name not in named(self._entries()) and self._store.remove(name, older)]

    def _entries(self) -> list[Entry]:
        entries = self._log.entries()
        if not entries:
            raise self._no_library()
        return entries

    def _no_library(self) -> ArtifactError:
        return ArtifactError(f"{self.url} is no library: there is no log in it; `vpt library add` begins one")

    def _append(
        self,
        action: str,
        task: str,
        make: Callable[[Mapping[str, TaskState]], tuple[int, dict[str, Any]] | None],
        why: str,
        by: str | None,
    ) -> None:
        """Write an entry with the version and the facts that `make` answers to the state of all tasks, if any."""
        if action != "add":
            self.state(task)

        def draft(entries: Sequence[Entry]) -> Entry | None:
            tasks = fold(entries)
            made = make(tasks)
            if made is None:
                return None
            previous = entries[-1].sha256 if entries else ""
            version, facts = made
            entry = Entry(
                len(entries) + 1, previous, now(), by or somebody(), why, action, task, version, jsonable(facts)
            )
            check(entry)
            apply(tasks, entry)
            return entry

        self._log.append(draft)

    def _check_place(self) -> None:
        """Raise `ArtifactError` where a new library would come among other things."""
        if other := sorted({*self._store.listed("")} - {LOG, FOLDER}):
            raise ArtifactError(f"{self.url} is no library, and holds other things: {some(other)}")

    def _read(self, store: Store, folder: str, files: Files) -> dict[str, bytes]:
        """The files of a version by name, checked."""
        content = store.read([f"{folder}/{name}" for name in files])
        if wrong := faults(content, folder, files, store.at(folder)):
            raise ArtifactError("; ".join(wrong))
        return {name: content[f"{folder}/{name}"] for name in files}


def _having(tasks: Mapping[str, TaskState], task: str, digest: str) -> Version | None:
    """The version of a task with these very files."""
    versions = tasks[task].versions if task in tasks else []
    return next((version for version in versions if version.digest == digest), None)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vpt" / "library"
