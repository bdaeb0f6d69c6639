"""Source "coop": the three layouts it reads, and what it says of those that contradict themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from samples import names_in, picture, write_folders

from vpt.data import load_task
from vpt.data.sources import tasks_of
from vpt.data.sources.coop_table import DATASETS, get
from vpt.errors import DataError, OptionError

PETS = {
    "train": [
        ["a_1.jpg", 0, "abyssinian"],
        ["a_2.jpg", 0, "abyssinian"],
        ["b_1.jpg", 1, "beagle"],
        ["b_2.jpg", 1, "beagle"],
    ],
    "val": [["b_3.jpg", 1, "beagle"], ["a_3.jpg", 0, "abyssinian"]],
    "test": [["a_4.jpg", 0, "abyssinian"]],
}


def write_pictures(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i, 8, 8)).save(folder / name)


def write_pets(root: Path, content: Any = PETS) -> Path:
    folder = root / "oxford_pets"
    write_pictures(folder / "images", [entry[0] for part in PETS.values() for entry in part])
    (folder / "split_zhou_OxfordPets.json").write_text(json.dumps(content))
    return root


def test_table() -> None:
    assert len(DATASETS) == 11
    for dataset in DATASETS.values():
        assert {get(name) for name in (dataset.name, dataset.title, dataset.folder)} == {dataset}
    assert get("caltech-101") is get("Caltech_101") is DATASETS["caltech101"]
    assert get("flowers102") is DATASETS["oxford_flowers"]
    with pytest.raises(OptionError, match=r"unknown dataset of CoOp's 'eurosta' \(did you mean 'eurosat'\?\)"):
        load_task("coop", None, "eurosta")
    with pytest.raises(OptionError, match="name is missing; accepted: imagenet, caltech101"):
        load_task("coop", None)


@pytest.mark.parametrize("name", ["oxford_pets", "OxfordPets"])
def test_split_file(tmp_path: Path, name: str) -> None:
    task = load_task("coop", write_pets(tmp_path), name)
    assert (task.name, task.route, task.classes) == ("oxford_pets", "coop", ("abyssinian", "beagle"))
    assert [images.labels.tolist() for images in task.sets().values()] == [[0, 0, 1, 1], [1, 0], [0]]
    assert names_in(task.val) == [str(tmp_path / "oxford_pets/images" / file) for file in ("b_3.jpg", "a_3.jpg")]
    assert "as published" in task.splits["val"]
    assert "there are 2 classes, the published split has 37" in task.deviations
    assert "train has 4 images, the published split 2944" in task.deviations
    task.verify()
    assert tasks_of("coop", tmp_path) == ["oxford_pets"]


def test_few_shots_and_new_classes_of_it(tmp_path: Path) -> None:
    few = load_task("coop", write_pets(tmp_path), "oxford_pets", shots=1, val_shots="auto", seed=1)
    assert [len(images) for images in few.sets().values()] == [2, 2, 1]
    base = load_task("coop", tmp_path, "oxford_pets", half="base", shots=2)
    assert (base.classes, base.train.labels.tolist()) == (("abyssinian",), [0, 0])


def changed(change: Callable[[Any], Any]) -> Any:
    content = json.loads(json.dumps(PETS))
    return change(content) or content


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (lambda c: [1], ["holds a list, not an object"]),
        (lambda c: c.pop("val") and None, ["1 faults", "val is missing"]),
        (lambda c: c.update(test=[], val=3), ["val is no list of images", "test is no list of images"]),
        (lambda c: c["train"].append(["x.jpg", True, "a"]), ["1 entries are not", "['x.jpg', True, 'a']"]),
        (lambda c: c["train"].append(["x.jpg", 0]), ["['x.jpg', 0]"]),
        (lambda c: c["val"].append(["", -1, ""]), ["['', -1, '']"]),
        (lambda c: c["val"][0].__setitem__(2, "Beagle"), ["label 1 has several names: Beagle, beagle"]),
        (lambda c: c["test"][0].__setitem__(1, 4), ["3 labels must be 0 .. 2: no image has 2"]),
        (lambda c: c["test"].append(["a_1.jpg", 0, "abyssinian"]), ["1 images are listed", "a_1.jpg (train, test)"]),
        (
            lambda c: c["test"].extend([f"gone/{i}.jpg", 0, "abyssinian"] for i in range(9)),
            ["9 of 16 images are not in", "gone/0.jpg", "gone/4.jpg and 4 more"],
        ),
        (
            lambda c: c["test"].extend([["gone.jpg", 7, "x"], ["a_1.jpg", 7, "y"]]),
            ["4 faults", "no image has 2", "label 7 has several names", "gone.jpg", "a_1.jpg (train, test)"],
        ),
    ],
)
def test_contradictions_are_told_at_once(tmp_path: Path, change: Callable[[Any], Any], messages: list[str]) -> None:
    with pytest.raises(DataError, match=r"split_zhou_OxfordPets\.json") as caught:
        load_task("coop", write_pets(tmp_path, changed(change)), "oxford_pets")
    for message in messages:
        assert message in str(caught.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split_zhou_OxfordPets\.json: there is no such file; OxfordPets needs it"):
        load_task("coop", tmp_path, "oxford_pets")
    (write_pets(tmp_path) / "oxford_pets" / "images").rename(tmp_path / "oxford_pets" / "jpg")
    with pytest.raises(DataError, match="images: there is no such folder; the images of OxfordPets lie there"):
        load_task("coop", tmp_path, "oxford_pets")
    (tmp_path / "oxford_pets" / "images").mkdir()
    (tmp_path / "oxford_pets" / "split_zhou_OxfordPets.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        load_task("coop", tmp_path, "oxford_pets")
    with pytest.raises(OptionError, match="source 'coop' needs root"):
        load_task("coop", None, "oxford_pets")


def write_aircraft(root: Path) -> Path:
    folder = root / "fgvc_aircraft"
    write_pictures(folder / "images", [f"{i:07d}.jpg" for i in range(6)])
    (folder / "variants.txt").write_text("707-320\nDH-82\nF-16A/B\n")
    lines = ["0000000 F-16A/B", "0000001 707-320", "0000002 DH-82", "0000003 DH-82"]
    (folder / "images_variant_train.txt").write_text("\n".join(lines))
    (folder / "images_variant_val.txt").write_text("0000004 DH-82\n")
    (folder / "images_variant_test.txt").write_text("0000005 707-320\n")
    return root


def test_aircraft(tmp_path: Path) -> None:
    task = load_task("coop", write_aircraft(tmp_path), "FGVCAircraft")
    assert task.classes == ("707-320", "DH-82", "F-16A/B")
    assert [images.labels.tolist() for images in task.sets().values()] == [[2, 0, 1, 1], [1], [0]]
    (tmp_path / "fgvc_aircraft" / "images_variant_val.txt").write_text("0000004 DH-28\n0000009 DH-82\n")
    with pytest.raises(DataError, match=r"line 1: 'DH-28' is no variant \(did you mean 'DH-82'\?\)(.|\n)*0000009\.jpg"):
        load_task("coop", tmp_path, "FGVCAircraft")
    (tmp_path / "fgvc_aircraft" / "images_variant_val.txt").unlink()
    with pytest.raises(DataError, match=r"images_variant_val\.txt: cannot be read"):
        load_task("coop", tmp_path, "FGVCAircraft")


def write_imagenet(root: Path, names: dict[str, str]) -> Path:
    for part, count in {"train": 5, "val": 2}.items():
        write_folders(root / "imagenet" / "images" / part, dict.fromkeys(names, count), "JPEG")
    lines = [f"{folder} {name}" for folder, name in names.items()]
    (root / "imagenet" / "classnames.txt").write_text("\n".join([*lines, "n09999999 not here"]))
    return root


def test_imagenet(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, {"n01440764": "tench", "n03773504": "missile", "n04008634": "missile"})
    task = load_task("coop", root, "imagenet", val_fraction=0.4)
    assert task.classes == ("tench", "missile", "projectile")
    assert "class n04008634 is called 'projectile', since 'missile' is another's" in task.deviations
    assert [len(images) for images in task.sets().values()] == [9, 6, 6]
    assert all("/images/val/" in name for name in names_in(task.test))
    assert all("/images/train/" in name for name in names_in(task.val) + names_in(task.train))
    assert not set(names_in(task.val)) & set(names_in(task.train))
    assert "the published split has none" in task.splits["val"]


def test_imagenet_without_names(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, {"n01440764": "tench", "n04008634": "missile"})
    (root / "imagenet" / "classnames.txt").write_text("n01440764 tench\n")
    with pytest.raises(DataError, match=r"a line '<folder> <class name>' for each folder.*; it has none for n04008634"):
        load_task("coop", root, "imagenet")
