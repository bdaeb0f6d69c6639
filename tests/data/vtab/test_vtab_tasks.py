"""The 19 tasks as facts, slices, and whether a loaded task is one of them."""

from __future__ import annotations

import csv
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpt.data import ImageSet, Task
from vpt.data.vtab import GROUPS, TASKS, Slice, deviations, get, require, resolve
from vpt.errors import DataError, OptionError

PUBLISHED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "published_vtab1k.csv"

# name: classes, TFDS name and version, val, test, images in test
PROTOCOL = {
    "cifar": (100, "cifar100:3.0.2", "train[45000:+200]", "test", 10000),
    "caltech101": (102, "caltech101:3.0.1", "train[floor(9/10 N):+200]", "test", 6085),
    "dtd": (47, "dtd:3.0.1", "validation[:200]", "test", 1880),
    "oxford_flowers102": (102, "oxford_flowers102:2.1.1", "validation[:200]", "test", 6149),
    "oxford_iiit_pet": (37, "oxford_iiit_pet:3.2.0", "train[floor(4/5 N):+200]", "test", 3669),
    "svhn": (10, "svhn_cropped:3.0.0", "train[floor(9/10 N):+200]", "test", 26032),
    "sun397": (397, "sun397/tfds:4.0.0", "validation[:200]", "test", 21750),
    "patch_camelyon": (2, "patch_camelyon:2.0.0", "validation[:200]", "test", 32768),
    "eurosat": (10, "eurosat/rgb:2.0.0", "train[16200:+200]", "train[21600:]", 5400),
    "resisc45": (45, "resisc45:3.0.0", "train[18900:+200]", "train[25200:]", 6300),
    "diabetic_retinopathy": (
        *(5, "diabetic_retinopathy_detection/btgraham-300:3.0.0", "validation[:200]", "test", 42670),
    ),
    "clevr_count": (8, "clevr:3.1.0", "train[63000:+200]", "validation", 15000),
    "clevr_dist": (6, "clevr:3.1.0", "train[63000:+200]", "validation", 15000),
    "dmlab": (6, "dmlab:2.0.1", "validation[:200]", "test", 22735),
    "kitti": (4, "kitti:3.2.0", "validation[:200]", "test", 711),
    "dsprites_loc": (16, "dsprites:2.0.0", "train[589824:+200]", "train[663552:]", 73728),
    "dsprites_ori": (16, "dsprites:2.0.0", "train[589824:+200]", "train[663552:]", 73728),
    "smallnorb_azi": (18, "smallnorb:2.0.0", "test[:200]", "test[floor(1/2 N):]", 12150),
    "smallnorb_ele": (9, "smallnorb:2.0.0", "test[:200]", "test[floor(1/2 N):]", 12150),
}


def test_the_table_is_the_protocol() -> None:
    facts = {t.name: (t.classes, t.tfds, str(t.val), str(t.test), t.test_images) for t in TASKS.values()}
    assert facts == PROTOCOL
    assert {str(t.train) for t in TASKS.values()} == {"train[:800]"}
    assert {group: len(tasks) for group, tasks in GROUPS.items()} == {"natural": 7, "specialized": 4, "structured": 8}
    assert [name for tasks in GROUPS.values() for name in tasks] == list(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_slices_are_whole_and_apart(name: str) -> None:
    task = TASKS[name]
    assert (task.counts("train"), task.counts("val")) == ((800,), (200,))
    assert task.sizes.keys() == {piece.split for piece in task.slices().values()}
    for size in range(max(map(len, task.sizes.values()))):
        taken = [
            (piece.split, position)
            for piece in task.slices().values()
            for position in piece.positions(task.sizes[piece.split][min(size, len(task.sizes[piece.split]) - 1)])
        ]
        assert len(taken) == len(set(taken))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_tells_how_it_stands_with_torchvision(name: str) -> None:
    task = TASKS[name]
    assert task.why
    assert pickle.loads(pickle.dumps(task)) == task
    assert not task.manual or "<root>/downloads/manual" in task.manual


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not on this machine")
def test_order_is_that_of_published_results() -> None:
    lines = [line for line in PUBLISHED.read_text().splitlines() if not line.startswith("#")]
    assert next(csv.reader(lines))[1:] == [task.published for task in TASKS.values()]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("cifar100", "cifar"),
        ("CIFAR", "cifar"),
        ("svhn_cropped", "svhn"),
        ("clevr-distance", "clevr_dist"),
        ("dsprites_location", "dsprites_loc"),
        ("flowers102", "oxford_flowers102"),
        ("retinopathy", "diabetic_retinopathy"),
        ("smallnorb_elevation", "smallnorb_ele"),
    ],
)
def test_other_names(name: str, task: str) -> None:
    assert get(name).name == resolve(name) == task


@pytest.mark.parametrize(("name", "nearest"), [("cifra", "cifar"), ("clevr_cuont", "clevr_count"), ("pest", "pet")])
def test_unknown_names(name: str, nearest: str) -> None:
    with pytest.raises(OptionError, match=rf"unknown VTAB-1K task '{name}' \(did you mean '{nearest}s?'"):
        get(name)
    assert resolve(name) == name


@pytest.mark.parametrize("name", ["clevr", "dsprites", "smallnorb"])
def test_a_dataset_with_two_tasks_names_neither(name: str) -> None:
    with pytest.raises(OptionError, match="did you mean"):
        get(name)


@given(st.integers(0, 10**6), st.integers(0, 99), st.integers(1, 500))
def test_slices_are_exact(size: int, percent: int, count: int) -> None:
    first = size * percent // 100
    assert Slice("train", Fraction(percent, 100)).positions(size) == range(first, size)
    assert Slice("train", Fraction(percent, 100), count).positions(size) == range(first, min(first + count, size))
    assert Slice("train", first, count).positions(size) == range(first, min(first + count, size))
    assert list(Slice("train", size + 1, count).positions(size)) == []


def task_of(train: int, val: int, test: int, classes: int) -> Task:
    def images(n: int) -> ImageSet:
        return ImageSet.from_arrays(np.zeros((n, 1, 1), np.uint8), np.zeros(n, int), list(map(str, range(classes))))

    return Task("mine", images(train), images(val), images(test))


def test_what_agrees_is_accepted() -> None:
    assert deviations(task_of(800, 200, 711, 4), get("kitti")) == []
    for test in (6085, 6084):
        require(task_of(800, 200, test, 102), get("caltech101"))


def test_every_deviation_is_told() -> None:
    wrong = task_of(640, 160, 700, 5)
    assert len(deviations(wrong, get("kitti"))) == 5
    with pytest.raises(DataError, match=r"not VTAB-1K's kitti(.|\n)*train has 640(.|\n)*val has 160(.|\n)*5 classes"):
        require(wrong, get("kitti"))
