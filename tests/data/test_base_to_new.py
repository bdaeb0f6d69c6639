"""Base-to-new: two tasks that share no class and lose no image."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import names_in, pixel_task

from vpt.data import base_to_new, harmonic_mean
from vpt.errors import DataError, OptionError


@settings(deadline=None)
@given(counts=st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=2, max_size=9))
def test_the_halves_are_the_task(counts: list[tuple[int, int, int]]) -> None:
    task = pixel_task(*counts)
    base, new = base_to_new(task)
    assert base.classes + new.classes == task.classes
    assert len(base.classes) == -(-len(counts) // 2)
    for part, images in task.sets().items():
        halves = [half.sets()[part] for half in (base, new)]
        assert sorted(names_in(halves[0]) + names_in(halves[1])) == sorted(names_in(images))
        classes = dict(zip(names_in(images), [task.classes[c] for c in images.labels], strict=True))
        for half in halves:
            assert [half.classes[c] for c in half.labels] == [classes[name] for name in names_in(half)]
            assert set(half.labels) == set(range(len(half.classes)))


def test_names_splits_and_the_whole() -> None:
    task = pixel_task((2, 1, 1), (2, 1, 1), (2, 1, 1))
    task = replace(task, whole=task.val.join(task.train), deviations=("not the published one",))
    base, new = base_to_new(task)
    assert (base.name, new.name) == ("pixels-base", "pixels-new")
    assert new.splits["train"] == "its own; of it the new classes, 2 to 2 of 0 to 2"
    assert new.whole is not None
    assert new.whole.labels.tolist() == [0, 0, 0]
    assert base.deviations == task.deviations
    assert base.record()["sizes"] == {"train": 4, "val": 2, "test": 2}


def test_tasks_with_no_halves() -> None:
    with pytest.raises(DataError, match="pixels: has the single class 'class 0'; base and new need two or more"):
        base_to_new(pixel_task((2, 2, 2)))
    with pytest.raises(DataError, match="pixels: no image of a new class in: train, test"):
        base_to_new(pixel_task((2, 1, 1), (0, 1, 0)))


accuracies = st.just(0.0) | st.floats(0.01, 100)


@given(base=accuracies, new=accuracies)
def test_harmonic_mean(base: float, new: float) -> None:
    mean = harmonic_mean(base, new)
    assert min(base, new) * (1 - 1e-12) <= mean <= max(base, new) * (1 + 1e-12) or 0 in (base, new)
    assert mean == harmonic_mean(new, base)
    assert harmonic_mean(base, 0) == 0


def test_harmonic_mean_of_published_numbers_and_of_none() -> None:
    assert round(harmonic_mean(82.69, 63.22), 2) == 71.66  # CoOp over the 11 datasets
    with pytest.raises(OptionError, match="accuracies -1 and 3"):
        harmonic_mean(-1, 3)
