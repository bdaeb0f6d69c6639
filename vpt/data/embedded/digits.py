"""scikit-learn's 1,797 handwritten digits, 8 x 8 grey, from the UCI repository."""

from __future__ import annotations

import numpy as np

from vpt.data.imageset import ImageSet
from vpt.data.pictures import Arrays
from vpt.data.task import Task
from vpt.errors import OptionError

ABOUT = "handwritten digits, 8x8 grey, shipped with scikit-learn (UCI optical recognition, test part)"


def digits(train: int = 800, val: int = 200, test: int = 797, split_seed: int = 0) -> Task:
    """Ten digits: training and validation images from the front of one seeded shuffle, test images from its end.

    Raises `OptionError` where they are more than 1,797 together.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    total = len(data.images)
    if train + val + test > total:
        raise OptionError(f"digits: train={train}, val={val}, test={test} do not fit into its {total} images")
    images = np.round(data.images * (255 / 16)).astype(np.uint8)
    everything = ImageSet("digits", [str(d) for d in range(10)], data.target, Arrays("digits", images), "embedded")
    order = np.random.default_rng([split_seed]).permutation(total)
    parts = {"train": order[:train], "val": order[train : train + val], "test": order[total - test :]}
    sets = {part: everything.subset(indices).named(f"digits/{part}") for part, indices in parts.items()}
    shuffled = f"of one shuffle, seed {split_seed}"
    splits = {part: f"{len(indices)} {shuffled}" for part, indices in parts.items()}
    return Task("digits", sets["train"], sets["val"], sets["test"], about=ABOUT, splits=splits)
