"""Fixtures of the data tests."""

from __future__ import annotations

import pytest
from samples import picture

from vpt.data import ImageSet, Preprocessing


@pytest.fixture
def arrays() -> ImageSet:
    """Twelve pictures of three classes, in memory."""
    return ImageSet.from_arrays([picture(i) for i in range(12)], [i % 3 for i in range(12)], "abc", "arrays")


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing((16, 24))
