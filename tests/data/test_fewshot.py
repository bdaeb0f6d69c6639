"""The few-shot protocol: shots to train on, min(shots, 4) to validate, the whole test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import names_in, pixel_task, write_folders

from vpt.data import Task, few_shot_task, load_task
from vpt.data.fewshot import with_val_shots
from vpt.errors import DataError, OptionError

sizes = st.lists(st.tuples(st.integers(5, 12), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=5)


@settings(deadline=None)
@given(counts=sizes, shots=st.integers(1, 5), seed=st.integers(0, 1000))
def test_protocol(counts: list[tuple[int, int, int]], shots: int, seed: int) -> None:
    task = pixel_task(*counts)
    cut = few_shot_task(task, shots, seed, "auto")
    assert np.bincount(cut.train.labels).tolist() == [shots] * len(counts)
    assert np.bincount(cut.val.labels).tolist() == [min(val, shots, 4) for _, val, _ in counts]
    assert cut.test is task.test
    assert set(names_in(cut.val)) <= set(names_in(task.val))
    again = few_shot_task(task, shots, seed, "auto")
    assert [names_in(images) for images in again.sets().values()] == [
        names_in(images) for images in cut.sets().values()
    ]
    assert names_in(cut.trainval) == [*names_in(cut.train), *names_in(cut.val)]


def test_seeds_draw_others_and_fewer_shots_are_among_more() -> None:
    task = pixel_task((30, 30, 1), (30, 30, 1))
    drawn = [few_shot_task(task, 4, seed, "auto") for seed in (1, 2, 3)]
    for part in ("train", "val"):
        assert len({tuple(names_in(cut.sets()[part])) for cut in drawn}) == 3
        fewer = few_shot_task(task, 2, 1, "auto")
        assert set(names_in(fewer.sets()[part])) < set(names_in(drawn[0].sets()[part]))


def test_classes_with_fewer_validation_images_give_what_they_have() -> None:
    cut = few_shot_task(pixel_task((9, 3, 1), (9, 0, 1), (9, 8, 1)), 8, 5, "auto")
    assert np.bincount(cut.val.labels, minlength=3).tolist() == [3, 0, 4]
    assert cut.splits["val"] == "4 images per class of val, seed 5; fewer in: class 0 (3), class 1 (0)"
    assert len(few_shot_task(cut, 8, 5).val) == 7  # shots alone leave validation alone
    assert len(few_shot_task(cut, 8, 5, 2).val) == 4


def test_classes_with_fewer_training_images_are_refused_by_name() -> None:
    task = pixel_task((3, 1, 1), (2, 1, 1), (9, 1, 1))
    with pytest.raises(DataError, match=r"train: 8 images per class asked for.*: class 0 \(3\), class 1 \(2\)$"):
        few_shot_task(task, 8, val_shots="auto")
    with pytest.raises(OptionError, match="val_shots 0"):
        with_val_shots(task, 0)


def test_an_order_of_train_and_val_together_is_not_kept() -> None:
    task = pixel_task((4, 4, 1))
    whole = replace(task, whole=task.val.join(task.train), splits={"train": "t", "trainval": "both"})
    cut = few_shot_task(whole, 1, val_shots="auto")
    assert (cut.whole, len(cut.trainval)) == (None, 2)
    assert cut.splits == {"train": "1 images per class of t, seed 0", "val": "1 images per class of val, seed 0"}


def sized(task: Task) -> list[int]:
    return [len(images) for images in task.sets().values()]


def test_options_of_load_task(tmp_path: Path) -> None:
    for part, n in {"train": 9, "val": 6, "test": 5}.items():
        write_folders(tmp_path / part, {"a": n, "b": n, "c": n})
    assert sized(load_task("folder", tmp_path, shots=8)) == [24, 18, 15]
    assert sized(load_task("folder", tmp_path, shots=8, val_shots="auto")) == [24, 12, 15]
    assert sized(load_task("folder", tmp_path, shots=2, val_shots="auto")) == [6, 6, 15]
    assert sized(load_task("folder", tmp_path, val_shots=1)) == [27, 3, 15]
    both = load_task("folder", tmp_path, half="new", shots=2, val_shots="auto", seed=3)
    assert sized(both) == [2, 2, 5]
    assert (both.name, both.classes) == (f"{tmp_path.name}-new", ("c",))
    assert both.splits["train"].startswith("2 images per class of")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_shots": "auto"}, r"min\(shots, 4\), and shots is not given"),
        (
            {"shots": 2, "val_shots": "all"},
            "val_shots='all' given; accepted: a whole number from 1, or 'auto', or none",
        ),
        ({"shots": 2, "val_shots": 0}, "val_shots=0"),
        ({"half": "old"}, "half='old' given; accepted: 'base' or 'new'"),
        ({"shots": 9, "resplit": 8}, "shots=9 are more than resplit=8 leaves to train on; accepted: 1 to 8"),
        ({"class_names": 3}, "class_names=3 given; accepted: a list of names, old names and their new ones, or a"),
        ({"spoken": "yes"}, "spoken='yes'"),
    ],
)
def test_values_of_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_task("embedded", None, "digits", **options)
