"""The order in which TFDS keeps the examples of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def tfds_order(split: str, keys: Sequence[str | int]) -> NDArray[np.int64]:
    """`int64 [n]`: position in the split -> index into `keys`, the keys that a dataset's builder gives its examples.

    TFDS sorts by the MD5 of the split's name followed by the key, and cuts the sorted examples into shards.
    """
    salt = hashlib.md5(split.encode(), usedforsecurity=False)

    def digest(key: str | int) -> bytes:
        salted = salt.copy()
        salted.update(str(key).replace("\\", "/").encode())
        return salted.digest()

    digests = [digest(key) for key in keys]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
