"""`resplit`: the same images, divided anew, none of them twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import names_in, pixel_task, pixels_of, write_folders

from vpt.data import Task, few_shot_task, load_task, resplit
from vpt.data.prepared import prepare
from vpt.errors import DataError, OptionError

sizes = st.lists(st.tuples(*[st.integers(1, 9)] * 3), min_size=1, max_size=5)


def all_names(task: Task) -> list[str]:
    return [name for images in task.sets().values() for name in names_in(images)]


@settings(deadline=None)
@given(counts=sizes, shots=st.integers(1, 8), seed=st.integers(0, 1000))
def test_nothing_is_lost_and_nothing_is_there_twice(counts: list[tuple[int, int, int]], shots: int, seed: int) -> None:
    task = pixel_task(*counts)
    if min(map(sum, counts)) < shots + 2:
        with pytest.raises(DataError, match="too few in"):
            resplit(task, shots, seed=seed)
        return
    anew = resplit(task, shots, seed=seed)
    assert sorted(all_names(anew)) == sorted(all_names(task))
    assert len(set(all_names(anew))) == len(all_names(anew))
    drawn = [np.bincount(images.labels, minlength=len(counts)) for images in anew.sets().values()]
    assert drawn[0].tolist() == [shots] * len(counts)
    assert drawn[1].tolist() == [min(shots, 4, sum(own) - shots - 1) for own in counts]
    assert drawn[2].min() >= 1
    labels = {
        name: c for images in task.sets().values() for name, c in zip(names_in(images), images.labels, strict=True)
    }
    for images in anew.sets().values():
        assert [labels[name] for name in names_in(images)] == images.labels.tolist()


def test_shots_and_seeds_share_one_test_set() -> None:
    anew = resplit(pixel_task((9, 9, 9), (9, 9, 9)), 8)
    assert names_in(anew.test) == names_in(resplit(pixel_task((9, 9, 9), (9, 9, 9)), 8).test)
    cuts = [few_shot_task(anew, shots, seed, "auto") for shots in (1, 8) for seed in (1, 2)]
    assert all(cut.test is anew.test for cut in cuts)
    assert names_in(resplit(pixel_task((9, 9, 9), (9, 9, 9)), 8, seed=1).test) != names_in(anew.test)


def test_the_task_says_that_the_split_is_its_own() -> None:
    task = replace(pixel_task((3, 3, 3)), deviations=("older",))
    anew = resplit(replace(task, whole=task.trainval), 4, 2, seed=7)
    assert anew.splits == {
        "train": "4 images per class of train, val and test together, seed 7",
        "val": "at most 2 images per class of train, val and test together, seed 7",
        "test": "all others",
    }
    assert anew.whole is None
    assert anew.deviations[0] == "older"
    assert "not the published one" in anew.deviations[1]


def test_classes_with_too_few_are_named() -> None:
    task = pixel_task((2, 1, 1), (2, 1, 2), (1, 1, 1))
    with pytest.raises(
        DataError, match=r"3 images per class to train on, .* too few in: class 0 \(4\), class 2 \(3\)$"
    ):
        resplit(task, 3)
    with pytest.raises(OptionError, match="resplit: 0 training"):
        resplit(task, 0)


def test_an_image_that_two_sets_have_is_refused() -> None:
    task = pixel_task((3, 3, 3))
    with pytest.raises(DataError, match=r"same image more than once: train\[0\], train\[1\], train\[2\]$"):
        resplit(replace(task, val=task.train), 2)
    # The same names alone are no reason: images in memory often have them.
    other = pixels_of("trainee", [0, 0, 0], 1)
    renamed = Task("t", task.train, task.val, other)
    for images in (task.train, other):
        images._pictures = replace(images._pictures, name="arrays")  # type: ignore[type-var]
    assert len(resplit(renamed, 2).test) == 5


def test_a_copy_under_another_name_is_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):  # of 5, 3 and 4 letters
        write_folders(tmp_path / part, {"a": 3, "b": 3}, first=100 * len(part))
    assert len(resplit(load_task("folder", tmp_path), 2).train) == 4
    first, other = sorted((tmp_path / "train" / "a").iterdir())[0], tmp_path / "test" / "b" / "copy.png"
    shutil.copy(first, other)
    with pytest.raises(DataError, match="same image more than once: ") as caught:
        resplit(load_task("folder", tmp_path), 2)
    assert all(str(path.relative_to(tmp_path)) in str(caught.value) for path in (first, other))


def test_options_of_load_task_and_prepared_tasks(tmp_path: Path) -> None:
    for part, n in {"train": 3, "val": 3, "test": 4}.items():
        write_folders(tmp_path / "images" / part, {"a": n, "b": n, "c": n}, first=100 * len(part))
    task = load_task("folder", tmp_path / "images", "mine", resplit=6, half="base", shots=5, val_shots="auto")
    assert [len(images) for images in task.sets().values()] == [10, 6, 2]
    assert (
        load_task("folder", tmp_path / "images", resplit=6).test.digest()
        != load_task("folder", tmp_path / "images", resplit=6, resplit_seed=1).test.digest()
    )
    prepare(load_task("folder", tmp_path / "images", "mine"), tmp_path / "prepared" / "mine")
    again = load_task("prepared", tmp_path / "prepared", "mine", resplit=6, half="base", shots=5, val_shots="auto")
    assert again.train.digest() == task.train.digest()
    assert again.splits["train"] == task.splits["train"]
