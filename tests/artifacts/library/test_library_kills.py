"""Killed before any of its changes to files, an operation was done or was not; two at once lose nothing."""

from __future__ import annotations

import builtins
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
from support.libraries import begun

from vpt.artifacts.library import Library
from vpt.artifacts.library.store import LocalStore
from vpt.errors import OptionError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

CALLS = [(builtins, "open"), *((os, name) for name in ("link", "replace", "rename", "unlink", "remove", "mkdir"))]
"""What changes files; `open` where it is for writing. Between two of them a kill leaves the same behind everywhere."""

STRAY = ["log/00000009.json.0a.7.tmp", "versions/stray", "versions/flowers/0a/README.md", "versions/flowers/0a/half"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: what was written outlives a kill in any case."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def child(work: Callable[[], object]) -> int:
    """The process that does `work`; it ends with 0 where that raised nothing."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return process


@contextmanager
def killed_at(place: int) -> Iterator[None]:
    """SIGKILL before the call of this number, from 0."""
    calls = count()

    def spied(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            reads = name == "open" and more.get("mode", [*arguments, "r"][1]) in ("r", "rb")
            if not reads and next(calls) == place:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)

        return call

    patches = [mock.patch.object(home, name, spied(name, getattr(home, name))) for home, name in CALLS]
    for patch in patches:
        patch.start()
    yield


def state(library: Library) -> object:
    """All that a reader can see."""
    tasks = library.tasks() if [*Path(library.url).glob("log/*.json")] else []
    return [
        (version.task, version.number, version.state, version.digest, version == library.current(task))
        for task in tasks
        for version in library.versions(task)
    ]


# to retire and to set a gate is to write an entry as well, in the same way
OPERATIONS: dict[str, Callable[[Library, list[Path]], object]] = {
    "begin": lambda library, saved: library.add(saved[2], "flowers", why="x"),
    "add": lambda library, saved: library.add(saved[2], "flowers", why="x"),
    "approve": lambda library, saved: library.approve("flowers", 1, why="x"),
    "rollback": lambda library, saved: library.rollback("flowers", why="x"),
    "clean": lambda library, saved: library.clean(older=0),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_anywhere_an_operation_was_done_or_was_not(operation: str, tmp_path: Path, saved: list[Path]) -> None:
    start, act = tmp_path / "start", OPERATIONS[operation]
    if operation != "begin":
        first = begun(start, saved[:2])
        first.approve("flowers", 1)
        first.approve("flowers", 2)
        if operation == "approve":
            first.retire("flowers", 1, why="x")
        for name in STRAY:
            (start / name).parent.mkdir(exist_ok=True)
            (start / name).touch()
    before = state(Library(start))
    shutil.copytree(start, tmp_path / "whole") if start.exists() else None
    act(Library(tmp_path / "whole"), saved)
    after = state(Library(tmp_path / "whole"))
    for place in count():
        folder = tmp_path / f"killed-{place}"
        shutil.copytree(start, folder) if start.exists() else None
        survived = _ended_well(folder, place, act, saved)
        library = Library(folder)
        found = state(library)
        assert found in (before, after)
        if found != []:
            left = library.verify()  # the whole task that was to be added, at most
            assert left == [] if found == after else all("no entry names" in fault for fault in left)
            assert all(library.open("flowers", v.number) for v in library.versions("flowers"))
        if found == before:  # nothing stands in the way of doing it again
            act(library, saved)
        assert state(Library(folder)) == after
        library.clean(older=0)
        assert library.orphans() == library.verify() == []
        if survived:
            assert place >= (2 * len(STRAY) if operation == "clean" else 2)
            return


def _ended_well(folder: Path, place: int, act: Callable[[Library, list[Path]], object], saved: list[Path]) -> bool:
    """Whether the operation had fewer calls than `place`; else it was killed."""

    def work() -> None:
        library = Library(folder)
        with killed_at(place):
            act(library, saved)

    _, status = os.waitpid(child(work), 0)
    assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFEXITED(status)


def test_two_writers_at_once_lose_nothing(tmp_path: Path, saved: list[Path], another: Callable[[str], Path]) -> None:
    names, each = ("ann", "bob"), 8
    folders = {name: [another(f"{name}-{i}") for i in range(each)] for name in names}
    ready, go = os.pipe()

    def write(name: str) -> None:
        os.read(ready, 1)  # so that both begin at once
        library = Library(tmp_path / "library")
        for folder in folders[name]:
            version = library.add(folder, "flowers", why=folder.name, by=name)
            library.approve("flowers", version.number, by=name)

    children = [child(lambda name=name: write(name)) for name in names]
    os.write(go, b"12")
    assert [os.waitpid(process, 0)[1] for process in children] == [0, 0]
    library = Library(tmp_path / "library")
    assert library.verify() == library.orphans() == []
    versions, entries = library.versions("flowers"), library.log()
    assert [version.number for version in versions] == list(range(1, 2 * each + 1))
    assert sorted(version.why for version in versions) == sorted(f.name for name in names for f in folders[name])
    assert {version.state for version in versions} == {"approved"}
    assert len(entries) == 4 * each
    current = library.current("flowers")
    assert current is not None
    assert current.number == [entry for entry in entries if entry.action == "approve"][-1].version


def test_of_two_who_roll_back_at_once_one_is_refused(tmp_path: Path, saved: list[Path]) -> None:
    library = begun(tmp_path / "library", saved)
    for number in (1, 2, 3):
        library.approve("flowers", number)
    create, other = LocalStore.create, Library(tmp_path / "library")

    def late(store: LocalStore, name: str, content: bytes) -> bool:
        if library.head() == 6:
            with mock.patch.object(LocalStore, "create", create):
                other.rollback("flowers", why="first")
        return create(store, name, content)

    with (
        mock.patch.object(LocalStore, "create", late),
        pytest.raises(OptionError, match="3 is not current any more: 2 is"),
    ):
        library.rollback("flowers", why="second")
    assert library.head() == 7


def test_an_answer_that_got_lost_is_no_second_entry(tmp_path: Path, saved: list[Path]) -> None:
    library = Library(tmp_path / "library")
    create = LocalStore.create

    def lossy(store: LocalStore, name: str, content: bytes) -> bool:
        create(store, name, content)
        return False

    with mock.patch.object(LocalStore, "create", lossy):
        library.add(saved[0], "flowers")
        library.approve("flowers", 1)
    assert [entry.action for entry in library.log()] == ["add", "approve"]
