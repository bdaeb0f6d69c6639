"""Heads trained together are the heads that `fit` trains alone."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from vpt.errors import DataError, NonFiniteLoss, OptionError
from vpt.training import fit
from vpt.training.probe import Point, together, train_together

from .tiny import Images, quick

N, D, C = 21, 12, 4
GRID = [Point(lr, decay, seed) for lr in (0.3, 0.02) for decay in (0.0, 0.1) for seed in (0, 5)]


class Flat:
    """Inputs `[n, 12]` in the guise of images `[3, 2, 2]`."""

    def __init__(self, inputs, labels):
        self.inputs, self.images = inputs, Images(labels.numpy(), tuple("abcd"))

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return {"image": self.inputs[index].view(3, 2, 2), "label": int(self.images.labels[index]), "index": index}


class Head(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.head = nn.Linear(D, C).to(weight.dtype)
        with torch.no_grad():
            self.head.weight.copy_(weight), self.head.bias.copy_(bias)

    def forward(self, images):
        return self.head(images.flatten(1))


def task(dtype=torch.float64, n=N):
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, C, (n,), generator=generator)
    centres = torch.randn(C, D, generator=generator, dtype=torch.float64)
    inputs = centres[labels] + torch.randn(n, D, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), labels


def start(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(100 + seed)
    drawn = torch.randn(C, D + 1, generator=generator, dtype=torch.float64).to(dtype)
    return drawn[:, :-1], drawn[:, -1]


def alone(inputs, labels, point, config, begun):
    model = Head(*begun)
    history = fit(model, Flat(inputs, labels), config=point.settings(config), quiet=True).history
    return model.head.weight.detach(), model.head.bias.detach(), [row["train_loss"] for row in history]


def assert_as_alone(points, config, dtype=torch.float64, tolerance=1e-9):
    inputs, labels = task(dtype)
    starts = {point.seed: start(point.seed, dtype) for point in points}
    probes = train_together(inputs, labels, points, config, C, starts)
    assert probes.failures == (None,) * len(points)
    for s, point in enumerate(points):
        weight, bias, losses = alone(inputs, labels, point, config, starts[point.seed])
        assert not torch.allclose(weight, starts[point.seed][0], rtol=1e-3)  # it did learn
        torch.testing.assert_close(probes.weights[s], weight, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(probes.biases[s], bias, rtol=tolerance, atol=tolerance)
        assert probes.losses[s].tolist() == pytest.approx(losses, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": "epoch"},
        {"scale_lr": True, "warmup_epochs": 0},
        {"decay": ["bias"], "momentum": 0.0},
        {"label_smoothing": 0.2},
        {"class_weights": "balanced"},
        {"class_weights": [0.0, 1.0, 2.5, 0.3]},
        {"class_weights": [3.0, 0.0, 2.5, 0.3], "label_smoothing": 0.1, "batch_size": 1},
        {"clip_norm": 0.2},
        {"batch_size": 64},
    ],
    ids=str,
)
def test_they_are_what_fit_makes_of_each(optimizer, changes):
    assert_as_alone(GRID, quick(optimizer=optimizer, **changes))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_they_are_in_single_precision_too(optimizer):
    assert_as_alone(GRID, quick(optimizer=optimizer), torch.float32, 1e-5)


def test_points_beyond_the_size_of_a_stack_take_turns(monkeypatch):
    inputs, labels = task()
    points = [replace(point, seed=point.seed % 2) for point in GRID]
    whole = train_together(inputs, labels, points, quick(), C)
    monkeypatch.setattr(together, "TOGETHER", 3 * C * (D + 1))
    parts = train_together(inputs, labels, points, quick(), C)
    torch.testing.assert_close(parts.weights, whole.weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.losses, whole.losses, rtol=1e-12, atol=1e-12)


positive = st.floats(1e-4, 3.0)
weights = st.lists(st.just(0.0) | st.floats(0.01, 4.0), min_size=C, max_size=C).filter(any)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=st.lists(st.builds(Point, positive, st.floats(0.0, 0.2), st.integers(0, 2)), min_size=1, max_size=4),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    schedule=st.sampled_from(["step", "epoch"]),
    batch_size=st.integers(1, N + 3),
    epochs=st.integers(1, 3),
    warmup=st.floats(0.0, 1.0),
    momentum=st.floats(0.0, 0.99),
    smoothing=st.one_of(st.just(0.0), st.floats(0.0, 0.9)),
    clip=st.one_of(st.none(), st.floats(0.01, 10.0)),
    balance=st.one_of(st.sampled_from(["none", "balanced"]), weights),
    decay=st.sampled_from([[], ["bias"]]),
)
def test_any_sweep_is_what_fit_makes_of_each(
    points, optimizer, schedule, batch_size, epochs, warmup, momentum, smoothing, clip, balance, decay
):
    config = quick(
        optimizer=optimizer, schedule=schedule, batch_size=batch_size, epochs=epochs, warmup_epochs=warmup,
        momentum=momentum, label_smoothing=smoothing, clip_norm=clip, class_weights=balance, decay=decay,
    )  # fmt: skip
    inputs, labels = task()
    starts = {seed: start(seed) for seed in range(3)}
    probes = train_together(inputs, labels, points, config, C, starts)
    for s, point in enumerate(points):
        weight, bias, losses = alone(inputs, labels, point, config, starts[point.seed])
        torch.testing.assert_close(probes.weights[s], weight, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(probes.biases[s], bias, rtol=1e-8, atol=1e-8)
        assert probes.losses[s].tolist() == pytest.approx(losses, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("changes", [{}, {"clip_norm": 1.0}], ids=str)
def test_a_point_that_diverges_fails_alone(optimizer, changes):
    inputs, labels = task(torch.float32)
    config = quick(optimizer=optimizer, **changes)
    good = [Point(0.1, 0.1), Point(0.02, 0.0)]
    calm = train_together(inputs, labels, good, config, C)
    wild = Point(1e30, 0.1)
    probes = train_together(inputs, labels, [good[0], wild, good[1]], config, C)
    for s, expected in ((0, 0), (2, 1)):
        torch.testing.assert_close(probes.weights[s], calm.weights[expected], rtol=1e-5, atol=1e-6)
        assert probes.failures[s] is None
        assert probes.losses[s].isfinite().all()
    assert probes.weights[1].isnan().all()
    assert probes.biases[1].isnan().all()
    assert probes.losses[1, -1].isnan()
    with pytest.raises(NonFiniteLoss) as error:
        alone(inputs, labels, wild, config, (torch.zeros(C, D), torch.zeros(C)))
    when = str(error.value).split(", images")[0]
    assert probes.failures[1] == f"{when} (try a lower learning rate)"


def test_extreme_logits_cost_no_accuracy_and_fail_no_point():
    inputs, labels = task(n=64)
    point, config, zeros = Point(1e4, 0.0), quick(optimizer="sgd"), torch.zeros(C, D + 1, dtype=torch.float64)
    probes = train_together(1e4 * inputs, labels, [point], config, C)
    weight, _, losses = alone(1e4 * inputs, labels, point, config, (zeros[:, :-1], zeros[:, -1]))
    assert max(losses) > 1e9
    torch.testing.assert_close(probes.weights[0], weight, rtol=1e-9, atol=1e-9)
    assert probes.losses[0].tolist() == pytest.approx(losses, rel=1e-9)


def test_logits_are_those_of_each_head():
    inputs, labels = task()
    probes = train_together(inputs, labels, GRID[:2], quick(epochs=1), C)
    for weight, bias, logits in zip(probes.weights, probes.biases, probes.logits(inputs), strict=True):
        torch.testing.assert_close(logits, inputs @ weight.T + bias)


def test_the_random_state_and_the_inputs_are_left_alone():
    inputs, labels = task()
    state, copy = torch.get_rng_state(), inputs.clone()
    begun = start(0)
    kept = [part.clone() for part in begun]
    train_together(inputs, labels, [Point(0.1, 0.1)], quick(), C, {0: begun})
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(inputs, copy)
    assert all(torch.equal(part, before) for part, before in zip(begun, kept, strict=True))


@pytest.mark.parametrize(
    ("points", "changes", "classes", "starts", "message"),
    [
        ([], {}, C, None, "points: none given"),
        ([Point(0.1, 0.0), Point(-1.0, 0.0)], {}, C, None, "point 1: lr: -1.0 given; accepted: a number from 0"),
        ([Point(0.1, math.inf)], {}, C, None, "point 0: weight_decay: inf given"),
        ([Point(0.1, 0.0, -2)], {}, C, None, "point 0: seed: -2 given"),
        (GRID, {"precision": "bf16"}, C, None, "precision: 'bf16' given; heads are trained together in fp32 alone"),
        (GRID, {"class_weights": [1.0, 2.0]}, C, None, "class_weights: 2 numbers given; accepted: one per class, 4"),
        (GRID, {"epochs": 0}, C, None, "epochs: 0 given"),
        (GRID, {}, 0, None, "num_classes: 0 given"),
        (GRID, {}, C, {0: start(0)}, "starts: none given for seed 5; given: 0"),
        (GRID, {}, C, {0: start(0)[::-1], 5: start(5)}, r"starts: shapes \[\[4\], \[4, 12\]\] given for seed 0"),
    ],
)
def test_wrong_settings_are_named(points, changes, classes, starts, message):
    with pytest.raises(OptionError, match=message):
        train_together(*task(), points, quick(**changes), classes, starts)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(3, 2, 2), torch.zeros(3).long(), r"inputs: torch.float32 \[3, 2, 2\] given"),
        (torch.zeros(3, 2).half(), torch.zeros(3).long(), "inputs: torch.float16"),
        (torch.zeros(3, 2), torch.zeros(4).long(), r"labels: torch.int64 \[4\] given for 3 inputs"),
        (torch.zeros(3, 2), torch.zeros(3), "labels: torch.float32"),
        (torch.zeros(0, 2), torch.zeros(0).long(), "for 0 inputs"),
        (torch.tensor([[0.0], [math.nan]]), torch.zeros(2).long(), "input 1 holds NaN"),
        (torch.tensor([[1e30], [0.0]]), torch.zeros(2).long(), "input 0 holds .* too large"),
        (torch.zeros(2, 2), torch.tensor([0, 9]), r"label 9 of input 1 is outside 0 \.\.\. 3"),
    ],
)
def test_wrong_data_is_named(inputs, labels, message):
    with pytest.raises(DataError, match=message):
        train_together(inputs, labels, GRID, quick(), C)
