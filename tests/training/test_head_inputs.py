"""A linear probe computes the same with one pass over the images as with one per epoch."""

import pytest
import torch
from support.matrix import small

import vpt
from vpt.data import ImageDataset, Preprocessing, load_task
from vpt.errors import TrainingError
from vpt.training import evaluate, fit
from vpt.training import fit as fit_function
from vpt.training.head_inputs import HeadInputs

from .tiny import quick

fit_module = __import__(fit_function.__module__, fromlist=["needed_part"])


def images_of(backbone, augment="none"):
    task = load_task("embedded", None, "digits", train=24, val=12, test=5)
    pixels = Preprocessing.of(backbone)
    return ImageDataset(task.train, pixels, augment=augment), ImageDataset(task.val, pixels)


def run(variant, method, monkeypatch=None, **options):
    backbone = small(variant)
    seen = []
    backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    model = vpt.tune(backbone, method, num_classes=10, head_init="normal", **options)
    train, val = images_of(backbone)
    if monkeypatch:
        monkeypatch.setattr(fit_module, "needed_part", lambda model, train, val: model)
    history = fit(model, train, val, quick(epochs=4, lr=0.01, batch_size=8), quiet=True).history
    return model, history, sum(seen)


@pytest.mark.parametrize("method", ["linear", "mlp"])
@pytest.mark.parametrize(
    "variant", ["flexivit_base", "deit_base_distilled_patch16_224", "vit_base_patch16_siglip_224", "drop rates"]
)
def test_one_pass_gives_what_a_pass_per_epoch_gives(variant, method, monkeypatch):
    fast, history, passes = run(variant, method)
    plain, expected, every = run(variant, method, monkeypatch)
    assert passes <= 24 + 12 + 8  # each image once, and one batch looked at before training
    assert every >= 4 * (24 + 12)
    for row, other in zip(history, expected, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-9)
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=1e-9)
    for name, tensor in fast.trained_state().items():
        torch.testing.assert_close(tensor, plain.trained_state()[name], rtol=1e-9, atol=1e-12)
    assert evaluate(fast, images_of(fast.backbone)[1]).loss == pytest.approx(history[-1]["val_loss"], rel=1e-9)


@pytest.mark.parametrize("method", ["shallow", "bias", "partial", "full"])
def test_what_learns_before_the_head_is_computed_every_epoch(method):
    _, _, passes = run("flexivit_base", method)
    assert passes >= 4 * (24 + 12)


def test_a_run_that_is_finished_or_refused_costs_no_pass(tmp_path):
    def passes(**changes):
        backbone = small("flexivit_base")
        seen = []
        backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
        model = vpt.tune(backbone, "linear", num_classes=10)
        try:
            fit(model, *images_of(backbone), quick(epochs=2, **changes), out=tmp_path, quiet=True)
        finally:
            done.append(sum(seen))

    done = []
    passes()
    passes()
    with pytest.raises(TrainingError, match=r"config\.lr"):
        passes(lr=0.5)
    first, finished, refused = done
    assert first >= 24 + 12
    assert finished == refused == 1  # looked at before training


def test_augmented_images_are_never_taken_for_the_same():
    backbone = small("flexivit_base")
    model = vpt.tune(backbone, "linear", num_classes=10)
    train, val = images_of(backbone, augment="light")
    seen = []
    backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    fit(model, train, val, quick(epochs=3, batch_size=8), quiet=True)
    assert sum(seen) >= 3 * (24 + 12)


def test_images_behind_the_inputs_are_still_named():
    train, _ = images_of(small("flexivit_base"))
    inputs = HeadInputs(train, torch.zeros(24, 1, 48))
    assert inputs.images.describe(3) == train.images.describe(3)
    assert inputs[3]["label"] == train[3]["label"]
