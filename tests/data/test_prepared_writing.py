"""Making a prepared task leaves a whole one or nothing, whoever makes it at once, and whatever ends it."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from samples import of_source, picture

from vpt.data import ImageSet, Preprocessing, Task, load_task
from vpt.data.arrays import whole_file, whole_folder
from vpt.data.prepared import is_prepared, open_prepared, prepare, verify_prepared
from vpt.errors import DataError


@pytest.fixture
def task() -> Task:
    """Three different images in each set."""
    return made()


def made() -> Task:
    parts = {"train": range(3), "val": range(3, 6), "test": range(6, 9)}
    sets = [ImageSet.from_arrays([picture(i) for i in r], [0, 1, 2], "abc", p) for p, r in parts.items()]
    return Task("made", *sets)


@contextmanager
def full_after(limit: int, path: Path) -> Iterator[IO[bytes]]:
    """As `whole_file`, on a disk with room for `limit` bytes of a file."""

    class Full(io.RawIOBase):
        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def write(self, content: Any) -> int:
            if self.file.tell() + len(content) > limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(content)

    with whole_file(path) as file:
        yield Full(file)  # type: ignore[misc]


@pytest.mark.parametrize("images", [0, 4])
def test_a_full_disk_leaves_nothing_and_says_what_is_needed(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    one, whole = len(task.train.content(0)), sum(len(s.content(i)) for s in task.sets().values() for i in range(3))
    monkeypatch.setattr("vpt.data.prepared.writing.whole_file", lambda path: full_after(images * one, path))
    with pytest.raises(DataError, match=r"out/made: the disk is full; .*[\d,]+ are free in") as caught:
        prepare(task, tmp_path / "out" / "made")
    assert (f"about {whole:,} bytes are needed" if images else "full; ") in str(caught.value)
    assert ("are needed" in str(caught.value)) == bool(images)  # nothing is known before the first
    with pytest.raises(DataError, match=rf"about {9 * 200 * 300 * 3:,} bytes are needed"):
        prepare(task, tmp_path / "out" / "made", Preprocessing((200, 300)))
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert of_source(open_prepared(prepare(task, tmp_path / "out" / "made"))) == of_source(task)


def test_a_place_that_cannot_be_written_is_named(task: Task, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/made: cannot be written: .*file'$"):
        prepare(task, tmp_path / "file" / "made")


def forked(function: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def prepare_and_die(folder: Path, at: int) -> None:
    torch.set_num_threads(1)
    prepare(made(), folder, progress=lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done == at else None)


@pytest.mark.parametrize("at", [1, 9])
def test_a_killed_writer_leaves_nothing_that_opens(tmp_path: Path, at: int) -> None:
    folder = tmp_path / "made"
    writer = forked(prepare_and_die, folder, at)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert not any(is_prepared(path) for path in tmp_path.iterdir())
    assert len(list(tmp_path.glob(".made.writing-*"))) == 1
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        open_prepared(folder)
    assert of_source(open_prepared(prepare(made(), folder))) == of_source(made())
    assert [path.name for path in tmp_path.iterdir()] == ["made"]  # nor is anything left of what was killed
    with pytest.raises(DataError, match=r"found in .*: made$"):
        load_task("prepared", tmp_path, "x")


def prepare_and_tell(folder: Path, told: Queue[int], go: Event) -> None:
    def begun(done: int, total: int) -> None:
        if done == 1:
            told.put(os.getpid())
            go.wait(30)

    torch.set_num_threads(1)
    prepare(made(), folder, progress=begun)


def test_of_two_processes_that_prepare_the_same_task_one_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    told, go = context.Queue(), context.Event()
    writers = [forked(prepare_and_tell, tmp_path / "made", told, go) for _ in range(2)]
    told.get(timeout=30)
    assert any(path.name.startswith(".made.writing-") for path in tmp_path.iterdir())
    go.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert told.empty()  # the other has decoded nothing
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    verify_prepared(tmp_path / "made")
    assert of_source(open_prepared(tmp_path / "made")) == of_source(made())


def test_another_task_that_came_meanwhile_is_not_written_over(task: Task, tmp_path: Path) -> None:
    other = Task("made", task.test, task.val, task.train)
    aside = prepare(other, tmp_path / "aside")

    def meanwhile(done: int, total: int) -> None:
        if done == total:
            aside.rename(tmp_path / "made")  # by one who does not ask for the lock

    with pytest.raises(DataError, match="holds another task"):
        prepare(task, tmp_path / "made", progress=meanwhile)
    assert of_source(open_prepared(tmp_path / "made")) == of_source(other)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_linked_folder_is_written_where_it_lies(task: Task, tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    link = tmp_path / "made"
    link.symlink_to(tmp_path / "far" / "away")
    assert prepare(task, link) == link
    assert link.is_symlink()
    assert is_prepared(tmp_path / "far" / "away")
    assert [path.name for path in tmp_path.iterdir() if path.name != "made"] == ["far"]
    assert of_source(open_prepared(prepare(task, link))) == of_source(task)
    (tmp_path / "later").symlink_to(tmp_path / "far" / "new")
    assert is_prepared(prepare(task, tmp_path / "later"))


def test_a_mount_point_is_refused_before_anything_is_decoded(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    monkeypatch.setattr(ImageSet, "content", lambda *_: pytest.fail("was read"))
    with pytest.raises(DataError, match=r"disk: is a mount point.*; take a folder in it"):
        prepare(task, tmp_path / "disk")


def test_where_there_are_no_locks_it_is_written_all_the_same(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unknown)
    (tmp_path / ".made.writing-other").mkdir()  # may be written just now
    assert is_prepared(prepare(task, tmp_path / "made"))
    assert (tmp_path / ".made.writing-other").exists()


def test_the_mode_follows_the_umask(task: Task, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        folder = prepare(task, tmp_path / "made")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> None:
        with whole_folder(tmp_path / "a") as folder:
            (folder / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "x").read_text() == "whole"
