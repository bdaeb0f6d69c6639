"""Losses that hold what is learned near the frozen CLIP, against their formulas; and the average over epochs."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.text_towers import images, small_clip
from support.tuned_clips import DIGITS, moved, tuned_clip

from vpt.data import ImageDataset, Preprocessing, load_task
from vpt.errors import OptionError
from vpt.methods import TunedClip
from vpt.methods.clip.epoch_average import EpochAverage
from vpt.training import FitConfig, fit
from vpt.training.devices import accelerator_for
from vpt.training.fit import train_epoch
from vpt.training.learner import Learner
from vpt.training.log import Logger
from vpt.training.preflight import check

SENTENCES = ["a {}.", "no {} at sea."]
PROMPTSRC: dict[str, Any] = {"words": "an x", "context_length": 2, "visual_length": 2, "templates": SENTENCES}


def zero_shot(features: torch.Tensor) -> torch.Tensor:
    tuned = tuned_clip("zero_shot", templates=SENTENCES).eval()
    return tuned.cosines(features, tuned.text_features().detach())


def test_promptsrc_adds_its_three_terms() -> None:
    clip = small_clip(context_length=40)
    seen = F.normalize(clip.encode_image(images()), dim=-1)
    tuned = moved("promptsrc", **PROMPTSRC, text_weight=3.0, image_weight=2.0).train()
    logits = tuned(images())
    fixed, now = zero_shot(seen).softmax(1), logits.softmax(1)
    drift = (fixed * (fixed.log() - now.log())).sum() / logits.numel()
    texts = tuned_clip("zero_shot", templates=SENTENCES).text_features()
    with torch.no_grad():
        expected = 3 * (tuned.text_features() - texts).abs().mean() + drift
        expected = expected + 2 * (tuned.image_features(images()) - seen).abs().mean()
    extra = tuned.regulariser()
    torch.testing.assert_close(extra, expected, rtol=1e-12, atol=0)
    extra.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in tuned.trainable().values())


def test_prompts_are_held_near_from_the_first_step() -> None:
    tuned = tuned_clip("promptsrc", **PROMPTSRC).train()
    tuned(images())
    assert tuned.regulariser() > 0, "they enter, even as they start"


def test_promptsrc_wants_images_not_features() -> None:
    tuned = tuned_clip("promptsrc", **PROMPTSRC).train()
    tuned.compare(tuned.image_features(images()))
    with pytest.raises(OptionError, match="call the model on images"):
        tuned.regulariser()


def test_a_loss_without_a_pass_says_so() -> None:
    with pytest.raises(OptionError, match="needs a forward pass in training mode"):
        tuned_clip("prograd").train().guide()


def test_a_copy_can_be_made_between_steps() -> None:
    tuned = tuned_clip("promptsrc", **PROMPTSRC).train()
    tuned(images())
    twin = copy.deepcopy(tuned)
    with pytest.raises(OptionError, match="needs a forward pass"):
        twin.regulariser()
    twin(images())
    assert torch.equal(twin.regulariser(), tuned.regulariser())
    assert isinstance(copy.deepcopy(tuned), TunedClip)


def digits(count: int = 12) -> ImageDataset:
    return ImageDataset(
        load_task("embedded", None, "digits", train=count, val=4, test=4).train, Preprocessing.of(small_clip())
    )


def test_prograd_steps_along_the_loss_without_its_part_against_zero_shot() -> None:
    tuned = tuned_clip("prograd", names=DIGITS, context_length=3, templates=SENTENCES).train()
    data, config = digits(), FitConfig(epochs=1, batch_size=12, lr=1.0, optimizer="sgd", momentum=0.0, warmup_epochs=0)
    batch = torch.stack([data[i]["image"] for i in range(12)]).double()
    labels = torch.tensor([data[i]["label"] for i in range(12)])
    fixed = tuned_clip("zero_shot", names=DIGITS, templates=SENTENCES)(batch).softmax(1)
    tokens = tuned.prompts.tokens
    for seed in range(50):  # until the two point apart
        with torch.no_grad():
            tokens.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
        logits = tuned(batch)
        (loss,) = torch.autograd.grad(F.cross_entropy(logits, labels), tokens, retain_graph=True)
        (guide,) = torch.autograd.grad(F.kl_div(logits.log_softmax(1), fixed, reduction="batchmean"), tokens)
        if (along := (loss * guide).sum()) < 0:
            break
    assert along < 0, "nothing to project"
    expected = tokens.detach() - (loss - along / (guide * guide).sum() * guide)

    accelerator = accelerator_for("fp32")
    learner = Learner(tuned, config, check(tuned, data, None, config), accelerator, tuned)
    train_epoch(learner, data, 0, Logger())
    torch.testing.assert_close(tokens.detach(), expected, rtol=1e-9, atol=1e-9)


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0.01, 2))
def test_shares_of_epochs_sum_to_one_and_peak_at_the_mean(epochs: int, mean: float, std: float) -> None:
    average = EpochAverage(mean, std)
    shares = [average.weight(e, epochs) for e in range(1, epochs + 1)]
    assert math.isclose(sum(shares), 1, rel_tol=1e-9)
    nearest = min(abs(e / epochs - mean) for e in range(1, epochs + 1))
    assert math.isclose(abs((shares.index(max(shares)) + 1) / epochs - mean), nearest, abs_tol=1e-9)


def test_training_ends_with_the_average_over_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    told = TunedClip.epoch_ended

    def watched(self: TunedClip, epoch: int, epochs: int) -> None:
        seen.append({name: p.detach().clone() for name, p in self.trainable().items()})
        told(self, epoch, epochs)

    monkeypatch.setattr(TunedClip, "epoch_ended", watched)
    tuned = tuned_clip("promptsrc", names=DIGITS, **PROMPTSRC, average_mean=0.7, average_std=0.3)
    fit(tuned, digits(), config=FitConfig(epochs=3, batch_size=6, lr=0.01, tensorboard=False), quiet=True)
    shares = [tuned.learned.average.weight(e, 3) for e in (1, 2, 3)]
    for name, parameter in tuned.trainable().items():
        expected = sum(share * state[name] for share, state in zip(shares, seen, strict=True))
        torch.testing.assert_close(parameter.detach(), expected)
        assert not torch.equal(parameter, seen[-1][name])


def test_an_interrupted_average_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FitConfig(epochs=3, batch_size=6, lr=0.01, tensorboard=False)
    whole = tuned_clip("promptsrc", names=DIGITS, **PROMPTSRC)
    fit(whole, digits(), config=config, quiet=True)
    told = TunedClip.epoch_ended

    def stops(self: TunedClip, epoch: int, epochs: int) -> None:
        told(self, epoch, epochs)
        if epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TunedClip, "epoch_ended", stops)
        with pytest.raises(KeyboardInterrupt):
            fit(tuned_clip("promptsrc", names=DIGITS, **PROMPTSRC), digits(), config=config, out=tmp_path, quiet=True)
    again = tuned_clip("promptsrc", names=DIGITS, **PROMPTSRC)
    fit(again, digits(), config=config, out=tmp_path, quiet=True)
    for name, parameter in again.trainable().items():
        assert torch.equal(parameter, whole.get_parameter(name)), name


def test_ensembles_by_name() -> None:
    named = tuned_clip("zero_shot", open_clip.CLIP(8, VISION, TEXT), tokenizer=None, templates="imagenet_simple")
    assert named.learned.templates[0].count("{}") == 1
    assert len(named.learned.templates) == len(open_clip.SIMPLE_IMAGENET_TEMPLATES)
    assert named.text_features().shape == (4, 8)


VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_weight": 0}, "text_weight is 0"),
        ({"average_mean": 2.0}, "average_mean is 2.0"),
        ({"average_mean": "a"}, "average_mean is 'a'; accepted: a share of the epochs"),
        ({"average_mean": True}, "average_mean is True"),
        ({"visual_length": 0}, "visual_length is 0; accepted: a whole number"),
        ({"average_std": -1.0}, "average_std is -1.0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        tuned_clip("promptsrc", **{**PROMPTSRC, **options})
