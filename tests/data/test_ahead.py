"""Work done ahead comes in order, is bounded, and stops with the one who uses it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpt.data.ahead import WINDOW, ahead


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * WINDOW))
def test_results_come_in_order(count: int) -> None:
    assert list(ahead(lambda i: i * i, count)) == [i * i for i in range(count)]


def test_no_more_is_computed_than_the_window_holds() -> None:
    started: list[int] = []
    results = ahead(lambda i: started.append(i) or i, 10 * WINDOW)
    for used in range(5):
        assert next(results) == used
        assert len(started) <= used + 1 + WINDOW
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 5 + WINDOW


def test_an_exception_comes_in_its_turn() -> None:
    def work(i: int) -> int:
        if i >= 3:
            raise ValueError(f"at {i}")
        return i

    results = ahead(work, 10)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="at 3"):
        next(results)
