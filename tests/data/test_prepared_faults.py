"""A prepared task is whole or says what is wrong with it."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import picture, write_folders

from vpt.data import ImageSet, Preprocessing, Task, load_task
from vpt.data.prepared import has_traces, open_prepared, prepare, verify_prepared
from vpt.data.prepared.manifest import _checksum
from vpt.errors import DataError

FILES = ("manifest.json", "images.bin", "index.npz", "names.json")


def made() -> Task:
    """Three different images in each set."""
    parts = {"train": range(3), "val": range(3, 6), "test": range(6, 9)}
    sets = [ImageSet.from_arrays([picture(i) for i in r], [0, 1, 2], "abc", p) for p, r in parts.items()]
    return Task("made", *sets)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare(made(), tmp_path / "made")


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


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(8)])
def test_damaged_pixels_are_named_when_they_are_read(tmp_path: Path, preprocessing: Preprocessing | None) -> None:
    folder = prepare(made(), tmp_path / "made", preprocessing)
    whole = (folder / "images.bin").read_bytes()
    size = len(whole) // 9
    for row in (1, 5):
        at = row * size + size // 2
        changed = bytearray(whole)
        changed[at] ^= 16
        (folder / "images.bin").write_bytes(changed)
        task = open_prepared(folder)
        images = task.sets()[("train", "val")[row // 3]]
        name = re.escape(images.describe(row % 3))
        for read in (images.decode, images.content):
            with pytest.raises(DataError, match=rf"{name} was changed or damaged in images\.bin(.|\n)*make it again"):
                read(row % 3)
        images.decode(0)
        with pytest.raises(DataError, match=rf"SHA-256 does not agree; other bytes have {name}\n"):
            verify_prepared(folder)
        with pytest.raises(DataError, match="1 of 9 images"):
            task.verify()


def test_damaged_images_are_named_as_far_as_it_goes(folder: Path) -> None:
    (folder / "images.bin").write_bytes(bytes((folder / "images.bin").stat().st_size))
    with pytest.raises(DataError, match=r"other bytes have train\[0\], train\[1\], .*, test\[2\]\n"):
        verify_prepared(folder)
    (folder / "names.json").write_bytes(bytes((folder / "names.json").stat().st_size))
    with pytest.raises(DataError, match=r"other bytes have image 0, .*\n  names\.json was changed"):
        verify_prepared(folder)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_is_a_fault_among_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    other = next(file for file in FILES[1:] if file != name)
    content = (folder / other).read_bytes()
    (folder / other).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def refusing(opener: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, *arguments: Any, **options: Any) -> Any:
            if str(file).endswith(name):
                raise OSError(number, os.strerror(number), str(file))
            return opener(file, *arguments, **options)

        return opened

    monkeypatch.setattr("builtins.open", refusing(open))
    monkeypatch.setattr("io.open", refusing(io.open))
    with pytest.raises(DataError, match=rf"{name} cannot be read: .*{os.strerror(number)}") as caught:
        verify_prepared(folder)
    assert f"{other} was changed or damaged" in str(caught.value)


def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "is_file", refused)
    assert has_traces(folder)


@pytest.mark.parametrize("field", ["classes", "sets", "resize", "files", "sha256"])
def test_a_removed_field_is_named(folder: Path, field: str) -> None:
    rewritten(folder, lambda content: content.pop(field), checksum=field != "sha256")
    with pytest.raises(DataError, match=f"field '{field}' is missing"):
        open_prepared(folder)


def test_other_schemas_rules_and_contents_are_refused(folder: Path) -> None:
    kept = (folder / "manifest.json").read_text()
    for change, said in (
        (lambda c: c.update(schema=3), "schema 3, from a later vpt; this vpt reads 2"),
        (lambda c: c.pop("schema"), "schema None; this vpt reads 2"),
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


def test_a_file_that_shrank_before_its_first_image_was_read_does_not_end_the_process(folder: Path) -> None:
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
