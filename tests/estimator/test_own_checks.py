"""scikit-learn's own checks of an estimator: every one that it has for classifiers of tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from estimator.small import tiny
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from vpt.estimator import PromptClassifier
from vpt.estimator import backbone as taking_turns

FAR = ("check_fit_idempotent", "check_fit_check_is_fitted", "check_n_features_in")
"""The checks whose numbers go beyond 100; those of all others lie within ±20, and there classes are told apart."""


@pytest.fixture(autouse=True)
def _in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tiny backbone in the place of the embedded one: in float64, since checks compare batches of different sizes."""
    backbone = tiny().double()
    monkeypatch.setattr(taking_turns, "load_backbone", lambda name, checkpoint: backbone)
    taking_turns._named.cache_clear()
    yield
    taking_turns._named.cache_clear()


@parametrize_with_checks([
    PromptClassifier(
        "embedded", "linear", epochs=3, lr=0.2, batch_size=32, image_shape=(1, -1), value_range=(-20, 20)
    )
])  # fmt: skip
def test_scikit_learns_checks(estimator: PromptClassifier, check: Any) -> None:
    if check.func.__name__ in FAR:
        estimator.set_params(value_range=(-10, 110))
    check(estimator)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_without_the_shape_of_a_row_it_takes_no_tables_and_says_so() -> None:
    assert not PromptClassifier().__sklearn_tags__().input_tags.two_d_array
    assert all(result["status"] != "failed" for result in check_estimator(PromptClassifier(), on_skip=None))
