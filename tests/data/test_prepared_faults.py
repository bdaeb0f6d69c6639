"""A prepared task is whole or says what is wrong with it; making one leaves a whole one or nothing."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from samples import picture, write_folders

from vpt.data import ImageSet, Preprocessing, Task, load_task
from vpt.data.arrays import whole_file, whole_folder
from vpt.data.prepared import is_prepared, open_prepared, prepare, verify_prepared
from vpt.data.prepared.manifest import _checksum
from vpt.errors import DataError

FILES = ("manifest.json", "images.bin", "index.npz", "names.json")


@pytest.fixture
def task() -> Task:
    """Three different images in each set."""
    return made()


def made() -> Task:
    parts = {"train": range(3), "val": range(3, 6), "test": range(6, 9)}
    sets = [ImageSet.from_arrays([picture(i) for i in r], [0, 1, 2], "abc", p) for p, r in parts.items()]
    return Task("made", *sets)


@pytest.fixture
def folder(task: Task, tmp_path: Path) -> Path:
    return prepare(task, tmp_path / "made")


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None], *, checksum: bool = True) -> None:
    """The manifest changed; its checksum too, as one who knows the format would."""
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    if checksum:
        content["sha256"] = _checksum(content)
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_remedy(folder: Path, name: str) -> None:
    (folder / name).unlink()
    for look in (open_prepared, verify_prepared):
        with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
            look(folder)
        if name != "manifest.json":
            assert "make it again: remove" in str(caught.value)
    with pytest.raises(DataError):
        prepare(made(), folder)  # not taken for the same, nor written over


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_named(folder: Path, name: str, kept: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=rf"no whole prepared task(.|\n)*{name}(.|\n)*make it again"):
        open_prepared(folder)


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    (folder / "names.json").unlink()
    (folder / "images.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"images.bin has 5 bytes instead of [\d,]+\n  names.json is missing"):
        open_prepared(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for at in np.linspace(0, len(whole) - 2, 7).astype(int):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError):
            verify_prepared(folder)
        if name in ("manifest.json", "index.npz"):  # what labels and digests come from is checked on opening
            with pytest.raises(DataError):
                open_prepared(folder)
        if name == "names.json":
            with pytest.raises(DataError, match=r"names.json was changed or damaged"):
                open_prepared(folder).train.describe(0)
    (folder / name).write_bytes(whole)
    verify_prepared(folder)


@pytest.mark.parametrize("field", ["classes", "sets", "resize", "files", "sha256"])
def test_a_removed_field_is_named(folder: Path, field: str) -> None:
    rewritten(folder, lambda content: content.pop(field), checksum=field != "sha256")
    with pytest.raises(DataError, match=f"field '{field}' is missing"):
        open_prepared(folder)


def test_other_schemas_rules_and_contents_are_refused(folder: Path) -> None:
    kept = (folder / "manifest.json").read_text()
    for change, said in (
        (lambda c: c.update(schema=2), "schema 2, from a later vpt; this vpt reads 1"),
        (lambda c: c.pop("schema"), "schema None; this vpt reads 1"),
        (lambda c: c["decoding"].update(alpha="black"), "decoded by other rules"),
    ):
        (folder / "manifest.json").write_text(kept)
        rewritten(folder, change)
        with pytest.raises(DataError, match=said):
            open_prepared(folder)
    for text in ("[]", "{", "\xff"):
        (folder / "manifest.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=r"manifest.json (holds a list|cannot be read)"):
            open_prepared(folder)
        with pytest.raises(DataError):
            prepare(made(), folder)


def test_labels_and_digests_are_held_against_the_manifest(folder: Path) -> None:
    rewritten(folder, lambda content: content.update(classes=["a", "b"]))
    for look in (open_prepared, verify_prepared):
        with pytest.raises(DataError, match=r"labels must be 0 \.\. 1"):
            look(folder)
    rewritten(folder, lambda content: content.update(classes=["a", "b", "c"]))
    verify_prepared(folder)
    rewritten(folder, lambda content: content["sets"]["val"].update(digest="0" * 64))
    with pytest.raises(DataError, match=r"val: its digest is \w{64}, not 0{64}"):
        verify_prepared(folder)


def test_verifying_tells_its_progress(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_prepared(folder, lambda *at: told.append(at))
    total = sum((folder / name).stat().st_size for name in FILES[1:])
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_a_file_that_shrank_after_opening_does_not_end_the_process(folder: Path) -> None:
    images = open_prepared(folder).train
    (folder / "images.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"images.bin cannot be mapped"):
        images.decode(0)
    with pytest.raises(DataError, match=r"images.bin cannot be mapped"):
        pickle.loads(pickle.dumps(images)).decode(0)


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(8)])
def test_bad_images_are_all_named_once_and_nothing_is_left(tmp_path: Path, preprocessing: Preprocessing | None) -> None:
    task = load_task("folder", write_folders(tmp_path / "images", {"a": 5, "b": 5}))
    bad = [task.train.describe(0), task.train.describe(2), task.test.describe(1)]
    for path in bad:
        Path(path).write_bytes(f"bad {path}".encode())
    task = Task("bad", task.train, task.val, task.test, task.train.join(task.val))
    with pytest.raises(DataError, match="bad: 3 of ") as caught:
        prepare(task, tmp_path / "out" / "bad", preprocessing)
    assert [line.strip().split(": not an image")[0] for line in str(caught.value).splitlines()[1:]] == bad
    assert list((tmp_path / "out").iterdir()) == []


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
    with pytest.raises(DataError, match=r"out/made: the disk is full; the task needs about ([\d,]+) bytes") as caught:
        prepare(task, tmp_path / "out" / "made")
    if images:
        assert f"about {whole:,} bytes" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert open_prepared(prepare(task, tmp_path / "out" / "made")).record() == task.record()


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
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        open_prepared(folder)
    assert open_prepared(prepare(made(), folder)).record() == made().record()
    with pytest.raises(DataError, match=r"found in .*: made$"):
        load_task("prepared", tmp_path, "x")


def prepare_together(folder: Path, barrier: Barrier) -> None:
    def meet(done: int, total: int) -> None:
        if done == total // 2:
            barrier.wait(30)

    torch.set_num_threads(1)
    prepare(made(), folder, progress=meet)


def test_two_processes_may_prepare_the_same_task_at_once(tmp_path: Path) -> None:
    barrier = multiprocessing.get_context("fork").Barrier(2)  # both are in the middle before either goes on
    writers = [forked(prepare_together, tmp_path / "made", barrier) for _ in range(2)]
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    verify_prepared(tmp_path / "made")
    assert open_prepared(tmp_path / "made").record() == made().record()


def test_another_task_that_came_meanwhile_is_not_written_over(task: Task, tmp_path: Path) -> None:
    other = Task("made", task.test, task.val, task.train)

    def meanwhile(done: int, total: int) -> None:
        if done == total:
            prepare(other, tmp_path / "made")

    with pytest.raises(DataError, match="holds another task"):
        prepare(task, tmp_path / "made", progress=meanwhile)
    assert open_prepared(tmp_path / "made").record() == other.record()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


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
