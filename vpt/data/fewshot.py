"""Few-shot subsets: k images of every class."""

from __future__ import annotations

import numpy as np

from vpt.data.imageset import ImageSet
from vpt.data.split import shuffled_by_class
from vpt.errors import DataError, OptionError


def few_shot(images: ImageSet, k: int, seed: int = 0) -> ImageSet:
    """`k` images of each class, drawn by `seed`, in their old order; with one seed, fewer shots are a subset of more.

    Raises `DataError` naming every class that has fewer than `k`.
    """
    if k < 1:
        raise OptionError(f"shots {k} is not accepted; accepted: 1, 2, 3, ... images per class")
    by_class = shuffled_by_class(images, seed, "shots")
    short = [f"{images.classes[c]} ({len(members)})" for c, members in enumerate(by_class) if len(members) < k]
    if short:
        raise DataError(f"{images.name}: {k} images per class asked for, but too few in: {', '.join(short)}")
    chosen = images.subset(np.sort(np.concatenate([members[:k] for members in by_class])))
    return chosen.named(f"{images.name}, {k} shots, seed {seed}")
