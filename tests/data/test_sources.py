"""Every source: the layouts it reads, and what it says of those it does not."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import REAL, needs_real, picture, write_folders

from vpt.data import Task, load_task
from vpt.data.sources import faults, names, registry, source
from vpt.errors import DataError, OptionError


def paths(task: Task, part: str) -> set[str]:
    images = task.sets()[part]
    return {images.describe(i) for i in range(len(images))}


def test_registry() -> None:
    images = ["csv", "embedded", "folder", "prepared", "torchvision"]
    assert names() == sorted([*images, "coop", "tfds", "vtab", "vtab-torchvision", "wds"])
    with pytest.raises(OptionError, match=r"unknown source 'foldr'.*did you mean 'folder'"):
        load_task("foldr", None)
    with pytest.raises(
        OptionError, match=r"'val_fractoin' \(did you mean 'val_fraction'\?\), 'x'; accepted: class_names"
    ):
        load_task("folder", None, val_fractoin=0.1, x=1)
    with pytest.raises(DataError, match="nowhere: there is no such"):
        load_task("folder", "nowhere")
    with pytest.raises(OptionError, match="needs root"):
        load_task("vtab", None, "cifar")


def test_a_new_source_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_sources", dict(registry._sources))

    @source("twice")
    def twice(root: Path | None, name: str | None, *, train: int = 4) -> Task:
        return load_task("embedded", None, name, train=2 * train, val=8, test=8)

    task = load_task("twice", None, "location", train=8, shots=1)
    assert len(task.train) == 8
    assert task.splits["train"].startswith("1 images per class")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": "a"}, "shots='a' given; accepted: a whole number from 1, or none"),
        ({"shots": True}, "shots=True"),
        ({"seed": -1}, "seed=-1 given; accepted: a whole number from 0"),
        ({"shots": 2.5}, r"shots=2\.5"),
        ({"val_fraction": "a"}, "val_fraction='a' given; accepted: a number between 0 and 1"),
        ({"test_fraction": 2}, "test_fraction=2"),
        ({"max_pixels": "a"}, "max_pixels='a'"),
        ({"ignore": [1]}, r"ignore=\[1\] given; accepted: a pattern"),
        ({"shot": 5}, r"no option 'shot' \(did you mean 'shots'\?\)"),
    ],
)
def test_values_of_options_are_checked(tmp_path: Path, options: dict[str, object], message: str) -> None:
    write_folders(tmp_path, {"a": 5, "b": 5})
    with pytest.raises(OptionError, match=message):
        load_task("folder", tmp_path, **options)


def test_faults_are_told_without_loading() -> None:
    assert len(faults("folder", None, {"shot": 5, "seed": "a", "max_pixels": 0})) == 3
    assert len(faults("torchvision", "FakeData", {"siez": 5, "download": "yes"})) == 2
    assert faults("folder", None, {"shots": None, "seed": np.int64(3), "val_fraction": np.float32(0.5)}) == []
    assert "did you mean 'folder'" in faults("foldr", None, {})[0]


def test_what_the_system_refuses_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_sources", dict(registry._sources))

    @source("locked")
    def locked(root: Path | None, name: str | None) -> Task:
        raise PermissionError(13, "Permission denied", str(root))

    with pytest.raises(DataError, match=f"'locked' cannot read {tmp_path}.*Permission denied"):
        load_task("locked", tmp_path)


@pytest.mark.parametrize("name", ["folder", "vtab", "torchvision"])
def test_a_file_in_place_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"file: is a file; source '{name}' takes a folder"):
        load_task(name, tmp_path / "file", "CIFAR10")


# folder


def test_folder_with_all_splits(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", {"cat": 3, "ant": 2})
    write_folders(tmp_path / "valid", {"ant": 1})
    write_folders(tmp_path / "test", {"cat": 2, "ant": 1})
    task = load_task("folder", tmp_path)
    assert (task.name, task.classes, task.route) == (tmp_path.name, ("ant", "cat"), "folder")
    assert task.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert task.val.labels.tolist() == [0]
    assert task.test.labels.tolist() == [0, 1, 1]
    assert task.test.describe(2) == str(tmp_path / "test/cat/001.png")


def test_flat_folder_is_split_by_seed(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 10, "b": 20})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    tasks = [load_task("folder", tmp_path, "mine", split_seed=seed) for seed in (0, 0, 1)]
    parts = [paths(tasks[0], part) for part in ("train", "val", "test")]
    assert [len(part) for part in parts] == [19, 5, 6]
    assert len(set.union(*parts)) == 30
    assert paths(tasks[1], "test") == parts[2] != paths(tasks[2], "test")
    assert "seed 0" in tasks[0].splits["val"]


def test_folder_holds_out_only_what_is_missing(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", {"a": 10, "b": 10})
    write_folders(tmp_path / "test", {"a": 2, "b": 2})
    task = load_task("folder", tmp_path, val_fraction=0.3)
    assert [len(images) for images in task.sets().values()] == [14, 6, 4]
    assert all("/train/" in path for path in paths(task, "val"))


def spoil_class(root: Path) -> None:
    write_folders(root / "test", {"c": 1})


def spoil_file(root: Path) -> None:
    (root / "train" / "a" / "notes.txt").write_text("x")


def spoil_stray(root: Path) -> None:
    Image.fromarray(picture(0)).save(root / "test" / "lost.png")


def spoil_folder(root: Path) -> None:
    (root / "tset").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_class, "no known class: c; known: a, b"),
        (spoil_file, r"not images by name.*\n.*notes\.txt"),
        (spoil_stray, r"no known class: lost\.png"),
        (spoil_folder, "no known class: tset"),
    ],
)
def test_folder_passes_over_nothing_in_silence(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    for part in ("train", "test"):
        write_folders(tmp_path / part, {"a": 3, "b": 3})
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        load_task("folder", tmp_path)
    if spoil is spoil_file:
        for ignore in (["*.txt"], "*.txt"):
            assert len(load_task("folder", tmp_path, ignore=ignore).test) == 6


def test_folder_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folders"):
        load_task("folder", tmp_path)


# vtab


def write_vtab(root: Path, labels: dict[str, list[int]]) -> Path:
    lines: dict[str, list[str]] = {}
    for seed, (part, values) in enumerate(labels.items()):
        (root / "images" / part).mkdir(parents=True)
        for i, label in enumerate(values):
            Image.fromarray(picture(100 * seed + i)).save(root / "images" / part / f"{i:06d}.png")
            lines.setdefault(part, []).append(f"images/{part}/{i:06d}.png {label}")
    lines["train800val200"] = lines["train800"] + lines["val200"]
    for part, text in lines.items():
        (root / f"{part}.txt").write_text("\n".join(text) + "\n")
    return root


VTAB = {"train800": [0, 1, 2, 1], "val200": [2, 0], "test": [1, 1, 2]}


def test_vtab_layout(tmp_path: Path) -> None:
    write_vtab(tmp_path / "mine", VTAB)
    task = load_task("vtab", tmp_path, "mine")
    assert task.route == "vtab-folder"
    assert task.classes == ("0", "1", "2")
    assert task.trainval.labels.tolist() == [0, 1, 2, 1, 2, 0]
    assert task.test.labels.tolist() == [1, 1, 2]
    np.testing.assert_array_equal(task.test.decode(0), picture(200))
    assert load_task("vtab", tmp_path / "mine").name == "mine"
    (tmp_path / "mine" / "classnames.json").write_text(json.dumps(["x", "y", "z"]))
    assert load_task("vtab", tmp_path, "mine").classes == ("x", "y", "z")


def test_vtab_number_of_classes_by_task(tmp_path: Path) -> None:
    write_vtab(tmp_path / "svhn", VTAB)
    assert len(load_task("vtab", tmp_path, "svhn").classes) == 10


def test_vtab_errors(tmp_path: Path) -> None:
    root = write_vtab(tmp_path / "mine", {**VTAB, "test": [1, 3]})
    with pytest.raises(DataError, match=r"0 \.\. 2.*000001\.png: 3"):
        load_task("vtab", tmp_path, "mine")
    (root / "test.txt").write_text("images/test/000000.png\nimages/test/gone.png 1\nimages/test/000001.png -1\n")
    with pytest.raises(DataError, match=r"3 bad lines(.|\n)*line 1(.|\n)*gone\.png(.|\n)*line 3"):
        load_task("vtab", tmp_path, "mine")
    (root / "train800val200.txt").write_text("images/train800/000000.png 0\n")
    (root / "test.txt").write_text("images/test/000000.png 1\n")
    with pytest.raises(DataError, match="does not have the labels"):
        load_task("vtab", tmp_path, "mine")
    (root / "classnames.json").write_text("{}")
    (root / "train800val200.txt").unlink()
    with pytest.raises(DataError, match="list of class names"):
        load_task("vtab", tmp_path, "mine")
    with pytest.raises(DataError, match=r"no task 'mone'.*did you mean 'mine'"):
        load_task("vtab", tmp_path, "mone")
    with pytest.raises(OptionError, match="name one of its tasks: mine"):
        load_task("vtab", tmp_path)


def test_vtab_lists_must_be_utf8(tmp_path: Path) -> None:
    root = write_vtab(tmp_path / "mine", VTAB)
    (root / "test.txt").write_bytes("images/test/é.png 1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"test\.txt: is not UTF-8 text \(byte 0xe9 at 12\)"):
        load_task("vtab", tmp_path, "mine")


@needs_real
@pytest.mark.parametrize(("name", "classes"), [("cifar", 100), ("caltech101", 102)])
def test_vtab_real(name: str, classes: int) -> None:
    task = load_task("vtab", REAL, name)
    assert len(task.classes) == classes
    assert [len(images) for images in (*task.sets().values(), task.trainval)] == [800, 200, 2000, 1000]
    assert task.val.decode(17).dtype == np.uint8
    task.val.verify()


# csv


def write_csv(tmp_path: Path, text: str, count: int = 12) -> Path:
    for i in range(count):
        Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "list.csv").write_text(text, encoding="utf-8-sig")
    return tmp_path / "list.csv"


def test_csv_with_splits(tmp_path: Path) -> None:
    rows = "path,label,split,note\n0.png,dog,train,x\n1.png,cat,train,\n2.png,cat,validation,\n3.png,dog,test,\n"
    task = load_task("csv", write_csv(tmp_path, rows))
    assert (task.name, task.classes, task.route) == ("list", ("cat", "dog"), "csv")
    assert [images.labels.tolist() for images in task.sets().values()] == [[1, 0], [0], [1]]
    np.testing.assert_array_equal(task.test.decode(0), picture(3))


def test_csv_without_splits_and_with_numbers(tmp_path: Path) -> None:
    rows = "path,label\n" + "".join(f"{i}.png,{[10, 9][i % 2]}\n" for i in range(12))
    task = load_task("csv", write_csv(tmp_path, rows))
    assert task.classes == ("9", "10")
    assert [len(images) for images in task.sets().values()] == [8, 2, 2]
    assert load_task("csv", tmp_path / "list.csv", classes=["8", "9", "10"]).train.labels.min() == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label\n0.png,a\n", "no column 'path'"),
        ("path,label\n0.png,\n1.png,a\ngone.png,a\n", r"2 faults(.|\n)*line 2: path or label(.|\n)*line 4: .*gone"),
        ("path,label,split\n0.png,a,trian\n", r"line 2: split 'trian' \(did you mean 'train'\?\)"),
        ("path,label,split\n0.png,a,train\n0.png,a,test\n", r"0\.png is listed 2 times"),
        ("path,label,split\n0.png,cat,train\n1.png,cta,test\n", r"line 3: 'cta' \(did you mean 'cat'\?\)"),
        ("path,label,split\n0.png,a,test\n", "'a'"),
        ("path,label\n", "no row for training"),
    ],
)
def test_csv_errors(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_task("csv", write_csv(tmp_path, rows, 2))


def test_csv_that_is_no_csv(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "path,label\n", 1)
    with pytest.raises(DataError, match=f"{tmp_path}: is a folder; source 'csv' takes a file"):
        load_task("csv", tmp_path)
    file.write_bytes("path,label\n0.png,Übung\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"list\.csv: is not UTF-8 text \(byte 0xdc"):
        load_task("csv", file)
    file.write_text("path,label\n0.png," + "x" * 200_000 + "\n")
    with pytest.raises(DataError, match=r"list\.csv: line \d is not CSV"):
        load_task("csv", file)


# embedded


@pytest.mark.parametrize("name", ["digits", "location", "orientation", "count"])
def test_embedded(name: str) -> None:
    task = load_task("embedded", None, name, train=40, val=20, test=30)
    assert [len(images) for images in task.sets().values()] == [40, 20, 30]
    assert task.route == "embedded"
    assert task.train.describe(17).startswith(name)
    larger = load_task("embedded", None, name, train=60, val=20, test=30)
    assert larger.test.digest() == task.test.digest()
    assert larger.train.subset(range(40)).digest() == task.train.digest()
    assert load_task("embedded", None, name, train=40, split_seed=1).train.digest() != task.train.digest()


def test_embedded_errors(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"unknown embedded task 'digit'.*did you mean 'digits'"):
        load_task("embedded", None, "digit")
    with pytest.raises(OptionError, match="train=0"):
        load_task("embedded", None, "count", train=0)
    with pytest.raises(OptionError, match="do not fit into its 1797"):
        load_task("embedded", None, "digits", train=1200, val=200)
    with pytest.raises(OptionError, match="takes no root"):
        load_task("embedded", tmp_path, "digits")


def test_every_kind_of_image_set_is_picklable(tmp_path: Path) -> None:
    folder = load_task("folder", write_folders(tmp_path, {"a": 4, "b": 4}))
    tasks = [folder, *(load_task("embedded", None, name, train=8, val=8, test=8) for name in ("digits", "count"))]
    for task in tasks:
        for images in (*task.sets().values(), task.trainval):
            again = pickle.loads(pickle.dumps(images))
            np.testing.assert_array_equal(again.decode(len(images) - 1), images.decode(len(images) - 1))
            assert again.digest() == images.digest()
