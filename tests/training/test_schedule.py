import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpt.training import FitConfig
from vpt.training.schedule import epoch_lr, learning_rate, step_lr, warmup_cosine

runs = st.tuples(st.integers(1, 60), st.integers(1, 20)).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), st.floats(0, pair[0]))
)


@given(runs, st.sampled_from(["step", "epoch"]))
def test_rises_then_falls_within_bounds(run, schedule):
    epochs, steps, warmup = run
    config = FitConfig(epochs=epochs, warmup_epochs=warmup, lr=0.3, schedule=schedule)
    rates = [learning_rate(step, steps, config) for step in range(epochs * steps)]
    assert all(0 <= rate <= 0.3 + 1e-12 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if warmup == 0:
        assert rates[0] == 0.3


def test_the_papers_form_is_constant_within_an_epoch_and_starts_at_zero():
    config = FitConfig(epochs=100, warmup_epochs=10, lr=2.0, schedule="epoch")
    assert [epoch_lr(e, config) for e in (0, 5, 10)] == [0.0, 1.0, 2.0]
    assert epoch_lr(55, config) == pytest.approx(1.0)
    assert {learning_rate(step, 7, config) for step in range(35, 42)} == {epoch_lr(5, config)}


def test_per_step_reaches_the_peak_at_the_end_of_warmup_and_zero_after_the_last_step():
    config = FitConfig(epochs=10, warmup_epochs=2, lr=1.0)
    assert step_lr(0, 5, config) == pytest.approx(0.1)
    assert step_lr(9, 5, config) == step_lr(10, 5, config) == 1.0
    assert step_lr(50, 5, config) == pytest.approx(0.0)
    assert step_lr(30, 5, config) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_no_warmup_and_nothing_but_warmup():
    assert warmup_cosine(0, 0, 10) == 1.0
    assert warmup_cosine(5, 10, 10) == 0.5
