"""Stratified splits and few-shot subsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import picture

from vpt.data import ImageSet, few_shot
from vpt.data.split import hold_out
from vpt.errors import DataError, OptionError


def labelled(labels: list[int]) -> ImageSet:
    """An image set whose image i is a single pixel of value i."""
    images = [np.full((1, 1, 3), i % 256, np.uint8) for i in range(len(labels))]
    return ImageSet.from_arrays(images, labels, [f"class {c}" for c in range(max(labels) + 1)])


def names(images: ImageSet) -> list[str]:
    return [images.describe(i) for i in range(len(images))]


counts = st.lists(st.integers(2, 12), min_size=1, max_size=5)


@settings(deadline=None)
@given(counts=counts, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_a_split_loses_nothing_and_serves_every_class(counts: list[int], fraction: float, seed: int) -> None:
    images = labelled([c for c, n in enumerate(counts) for _ in range(n)])
    kept, held = hold_out(images, fraction, seed, "val")
    assert sorted(names(kept) + names(held)) == sorted(names(images))
    for c, n in enumerate(counts):
        size = int((held.labels == c).sum())
        assert 1 <= size <= n - 1
        assert abs(size - fraction * n) <= 1
    assert names(hold_out(images, fraction, seed, "val")[1]) == names(held)


def test_splits_differ_by_seed_and_purpose() -> None:
    images = labelled([0] * 30 + [1] * 30)
    drawn = {tuple(names(hold_out(images, 0.5, seed, to)[1])) for seed in (0, 1) for to in ("val", "test")}
    assert len(drawn) == 4


def test_a_class_draw_does_not_depend_on_other_classes() -> None:
    alone, together = labelled([0] * 10), labelled([0] * 10 + [1] * 10)
    assert names(few_shot(alone, 3, 5)) == names(few_shot(together, 3, 5))[:3]


def test_hold_out_names_classes_with_one_image() -> None:
    with pytest.raises(DataError, match="val split of classes with a single image: class 1"):
        hold_out(labelled([0, 0, 1, 2, 2]), 0.2, 0, "val")
    with pytest.raises(OptionError, match=r"val_fraction 1\.0"):
        hold_out(labelled([0, 0]), 1.0, 0, "val")


@settings(deadline=None)
@given(counts=counts, seed=st.integers(0, 1000))
def test_few_shot_takes_k_of_each_and_grows_by_adding(counts: list[int], seed: int) -> None:
    images = labelled([c for c, n in enumerate(counts) for _ in range(n)])
    one, two = few_shot(images, 1, seed), few_shot(images, 2, seed)
    assert np.bincount(two.labels).tolist() == [2] * len(counts)
    assert set(names(one)) <= set(names(two))


def test_few_shot_names_every_class_with_too_few() -> None:
    with pytest.raises(DataError, match=r"class 1 \(1\), class 2 \(2\)$"):
        few_shot(labelled([0, 0, 0, 1, 2, 2]), 3)
    with pytest.raises(OptionError, match="shots 0"):
        few_shot(labelled([0]), 0)
    with pytest.raises(OptionError, match="seed -1"):
        few_shot(ImageSet.from_arrays([picture(0)], [0]), 1, -1)
