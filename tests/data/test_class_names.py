"""Other names for classes, from lists, mappings and files, and names as they are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import REAL, needs_real, pixel_task, write_folders

from vpt.data import load_task, renamed, spoken
from vpt.data.embedded import TASKS
from vpt.data.sources.class_names import read_class_names
from vpt.errors import DataError, OptionError


def test_renamed() -> None:
    task = pixel_task((2, 1, 1), (2, 1, 1))
    whole = task.train.join(task.val)
    named = renamed(task.with_sets(lambda images: images), ["cat", "dog"])
    assert named.classes == ("cat", "dog")
    assert named.train.labels.tolist() == task.train.labels.tolist()
    assert named.trainval.digest() == whole.digest()
    assert renamed(task, {"class 1": "dog"}).classes == ("class 0", "dog")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "pixels: class_names: 1 names given for 3 classes"),
        (["a", "b", "a"], r"'a' stands 2 times \(names 0, 2\)"),
        (["a", " ", 3], "name 1 is ' '; name 2 is 3"),
        (["a", "a"], r"2 names given for 3 classes; 'a' stands 2 times"),
        ({"class 0": "class 1"}, r"'class 1' stands 2 times \(names 0, 1\)"),
        ({"clas 0": "x"}, r"'clas 0' is no class \(did you mean 'class 0'\?\)"),
    ],
)
def test_names_that_are_refused(names: list[str] | dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        renamed(pixel_task((1, 1, 1), (1, 1, 1), (1, 1, 1)), names)


def test_spoken() -> None:
    said = {
        "goldfish, Carassius auratus": "goldfish",
        "golden_retriever": "golden retriever",
        "001.Black_footed_Albatross": "Black footed Albatross",
        "up-right": "up-right",
        "7": "7",
        " , ": " , ",
    }
    assert spoken(list(said)) == list(said.values())


def test_spoken_names_stay_apart_where_synonyms_tell_them_apart() -> None:
    assert spoken(["crane, bird", "crane, machine, lifter", "goose, bird"]) == [
        "crane, bird",
        "crane, machine",
        "goose",
    ]
    assert spoken(["crane", "crane, machine"]) == ["crane", "crane, machine"]
    assert spoken(["crane", "crane"]) == ["crane", "crane"]


@given(st.lists(st.text("ab,_ ", max_size=8), max_size=6))
def test_spoken_names_are_as_many_and_say_the_same_again(names: list[str]) -> None:
    said = spoken(names)
    assert [bool(name.strip()) for name in said] == [bool(name.strip()) for name in names]
    if not any("," in name for name in said):
        assert spoken(said) == said


@pytest.mark.parametrize("name", TASKS)
def test_embedded_tasks_have_names_that_can_be_said(name: str) -> None:
    classes = TASKS[name](train=8, val=8, test=8, split_seed=0).classes
    assert spoken(classes) == list(classes)


def test_files_of_names(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('["x", "y"]')
    (tmp_path / "map.json").write_text('{"a": "x"}')
    (tmp_path / "lines.txt").write_text("x\n\n  golden retriever \n")
    (tmp_path / "ids.txt").write_text("n00000001 tench, Tinca tinca\nn00000002\tgoldfish\nn00000003 shark\n")
    assert read_class_names(tmp_path / "list.json", ()) == ["x", "y"]
    assert read_class_names(tmp_path / "map.json", ()) == {"a": "x"}
    assert read_class_names(tmp_path / "lines.txt", ()) == ["x", "golden retriever"]
    classes = ("n00000002", "n00000001")
    assert read_class_names(tmp_path / "ids.txt", classes) == {
        "n00000002": "goldfish",
        "n00000001": "tench, Tinca tinca",
    }
    with pytest.raises(DataError, match=r"ids\.txt: has names of WordNet ids, but none of the classes n00000004"):
        read_class_names(tmp_path / "ids.txt", ("n00000004", "n00000001"))
    with pytest.raises(DataError, match=r"gone\.txt: there is no such file"):
        read_class_names(tmp_path / "gone.txt", ())
    (tmp_path / "map.json").write_text("3")
    with pytest.raises(DataError, match=r"holds a int; accepted: a list of names"):
        read_class_names(tmp_path / "map.json", ())
    (tmp_path / "map.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        read_class_names(tmp_path / "map.json", ())


def test_options_of_load_task(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "images", {"n00000001": 5, "n00000002": 5})
    (tmp_path / "words.txt").write_text("n00000001 tench, Tinca tinca\nn00000002 grey_whale\nn00000003 shark\n")
    task = load_task("folder", root, class_names=str(tmp_path / "words.txt"), spoken=True)
    assert task.classes == ("tench", "grey whale")
    assert load_task("folder", root, class_names={"n00000001": "tench"}).classes == ("tench", "n00000002")
    assert load_task("folder", root, class_names=["b", "a"], half="base").classes == ("b",)
    with pytest.raises(OptionError, match="1 names given for 2 classes"):
        load_task("folder", root, class_names=["b"])


@needs_real
def test_vtab_folders_bring_their_names() -> None:
    names = json.loads((REAL / "cifar" / "classnames.json").read_text())
    assert load_task("vtab", REAL, "cifar").classes == tuple(names)
    assert "aquarium fish" in load_task("vtab", REAL, "cifar", spoken=True).classes
    assert "ceiling fan" in load_task("vtab", REAL, "caltech101", spoken=True).classes
