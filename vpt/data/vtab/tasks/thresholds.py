"""Distances to classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def last_below(distance: float, thresholds: Sequence[float]) -> int:
    """The largest index whose threshold is strictly below `distance`, compared as float32 like TFDS' features.

    -1 where none is, which is no class and refused as such.
    """
    below = np.flatnonzero(np.asarray(thresholds, dtype=np.float32) < np.float32(distance))
    return int(below[-1]) if len(below) else -1
