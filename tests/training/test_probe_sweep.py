"""A sweep over a model's probes sees each image once and tells what training each alone would tell."""

from __future__ import annotations

import pytest
import torch
from support.matrix import small

import vpt
from vpt.data import ImageDataset, Preprocessing, load_task
from vpt.training import evaluate, fit
from vpt.training.frozen_inputs import SUFFIX
from vpt.training.probe import Point, sweep

from .tiny import quick

POINTS = [Point(0.3, 0.0), Point(0.01, 0.1), Point(0.003, 0.0)]


def images_of(backbone, augment="none"):
    task = load_task("embedded", None, "digits", train=24, val=12, test=5)
    pixels = Preprocessing.of(backbone)
    return ImageDataset(task.train, pixels, augment=augment), ImageDataset(task.val, pixels)


def probe(variant="flexivit_base", method="linear"):
    return vpt.tune(small(variant), method, num_classes=10, head_init="normal")


@pytest.mark.parametrize("variant", ["flexivit_base", "vit_base_patch16_siglip_224", "drop rates"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_trials_are_those_of_training_each_alone(variant, optimizer):
    config = quick(epochs=3, optimizer=optimizer)
    model = probe(variant)
    for point, trial in zip(POINTS, sweep(model, *images_of(model.backbone), POINTS, config), strict=True):
        alone = probe(variant)
        train, val = images_of(alone.backbone)
        history = fit(alone, train, None, point.settings(config), quiet=True).history
        assert trial.accuracy == evaluate(alone, val).accuracy
        assert trial.train_loss == pytest.approx(history[-1]["train_loss"], rel=1e-9)
        assert trial.failed is None


def test_each_image_is_seen_once_and_the_model_is_left_as_it_was():
    model, seen = probe(), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    sweep(model, *images_of(model.backbone), POINTS, quick())
    assert sum(seen) <= 24 + 12 + 3  # and some looked at before
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_the_head_reads_is_kept_in_the_cache(tmp_path):
    first = sweep(probe(), *images_of(small("flexivit_base")), POINTS, quick(), cache=tmp_path)
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 2
    model, seen = probe(), []
    model.backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    again = sweep(model, *images_of(model.backbone), POINTS, quick(), cache=tmp_path)
    assert sum(seen) <= 3
    assert [trial.train_loss for trial in again] == [trial.train_loss for trial in first]


@pytest.mark.parametrize(
    ("variant", "method", "augment", "changes"),
    [
        ("flexivit_base", "mlp", "none", {}),
        ("flexivit_base", "deep", "none", {}),
        ("deit_base_distilled_patch16_224", "linear", "none", {}),
        ("flexivit_base", "linear", "light", {}),
        ("flexivit_base", "linear", "none", {"precision": "bf16"}),
        ("flexivit_base", "linear", "none", {"frozen_cache_gb": 0}),
    ],
)
def test_what_is_no_single_linear_map_on_fixed_features_is_left_to_fit(variant, method, augment, changes):
    model = probe(variant, method)
    assert sweep(model, *images_of(model.backbone, augment), POINTS, quick(**changes)) is None


def test_features_that_are_not_finite_are_left_to_fit():
    model = probe()
    with torch.no_grad():
        model.backbone.norm.bias[0] = float("inf")
    train, val = images_of(model.backbone)
    assert sweep(model, train, val, POINTS, quick()) is None


def test_points_fail_alone_in_training_or_at_its_last_step():
    model = probe()
    points = [POINTS[0], Point(1e20, 1e300), POINTS[1]]
    data = images_of(model.backbone)
    several, one = (
        sweep(
            model, *data, points, quick(epochs=1, optimizer="sgd", warmup_epochs=0, schedule="epoch", batch_size=size)
        )
        for size in (8, 24)
    )
    for trials in (several, one):
        assert [trial.failed is None for trial in trials] == [True, False, True]
        assert trials[1].accuracy is trials[1].train_loss is None
    assert "loss is not finite at step 2, learning rate 1e+20" in several[1].failed
    assert one[1].failed == "the model gives NaN or infinite logits for 12 images"
