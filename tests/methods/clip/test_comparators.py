"""What learns on image features of a frozen CLIP: `linear`, `clip_adapter`, `tip_adapter`, `tip_adapter_f`."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_tokenizer import SmallTokenizer
from support.text_towers import images, small_clip
from support.tuned_clips import Pictures, moved, tuned_clip
from support.visual_towers import images_of, visual_clip
from torch import Tensor

import vpt
from vpt.errors import DataError, OptionError, TrainingError, VptError
from vpt.methods.clip import TunedClip, at_start
from vpt.training import FitConfig

LABELS = [0, 1, 2, 3, 3, 0]
KEPT: dict[str, Any] = {"support_images": images(6), "support_labels": LABELS}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "linear": {"weight": (4, 64), "bias": (4,)},
    "clip_adapter": {"down": (16, 64), "up": (64, 16)},
    "tip_adapter": {},
    "tip_adapter_f": {"keys": (6, 64)},
}
LEARNING = [method for method, shapes in SHAPES.items() if shapes]


def tuned_by(method: str, clip: Any = None, **options: Any) -> TunedClip:
    return tuned_clip(method, clip, **{**(KEPT if method.startswith("tip") else {}), **options})


def moved_by(method: str, clip: Any = None, **options: Any) -> TunedClip:
    return moved(method, clip, **{**(KEPT if method.startswith("tip") else {}), **options})


def state(clip: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in clip.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def zero_shot(x: Tensor) -> Tensor:
    with torch.no_grad():
        return tuned_clip("zero_shot").eval()(x)


# --- what they compute ----------------------------------------------------------------------------


def test_linear_reads_features_of_unit_variance() -> None:
    tuned = moved_by("linear")
    seen, learned = tuned.image_features(images(5)), tuned.trained_state()
    expected = seen * 8 @ learned["prompts.weight"].T + learned["prompts.bias"]
    torch.testing.assert_close(tuned(images(5)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("templates", ["a {}.", ["no {} at sea.", "a {}."]])
def test_linear_starts_from_nothing_or_as_zero_shot(templates: Any) -> None:
    assert not tuned_by("linear")(images()).any()
    clip = small_clip(context_length=40).train()
    started = tuned_by("linear", clip, init="text", templates=templates)
    fixed = tuned_clip("zero_shot", templates=templates)
    torch.testing.assert_close(started(images()), fixed(images()), rtol=1e-12, atol=1e-12)
    weight = F.normalize(started.trained_state()["prompts.weight"], dim=-1)
    torch.testing.assert_close(weight, fixed.text_features(), rtol=1e-12, atol=1e-12)
    assert all(module.training for module in started.detach().modules()), "modes are as before the start was computed"


def test_linear_never_asks_the_text_tower() -> None:
    tuned = tuned_by("linear")

    def refuse(*args: Any) -> None:
        raise AssertionError("the text tower runs")

    tuned.backbone.ln_final.register_forward_hook(refuse)
    tuned.train()(images()).sum().backward()
    with torch.no_grad():
        tuned.eval()(images())
    assert "path: plain (no text is encoded, and nothing enters the image tower)" in tuned.summary()
    with pytest.raises(OptionError, match=r"'linear' has no class features; .*trained_state\(\)"):
        tuned.text_features()


@pytest.mark.parametrize("path", ["plain", "auto"])
def test_linear_takes_no_path_of_a_text_tower(path: str) -> None:
    clip = small_clip("text", context_length=40)
    clip.text.register_forward_hook(lambda *_: None)  # which the fast path of texts would pass by
    assert tuned_by("linear", clip, path=path).path == "plain"
    with pytest.raises(OptionError, match="path='fused' is not possible here: no text is encoded, and nothing enters"):
        tuned_by("linear", small_clip(context_length=40), path="fused")
    with pytest.raises(OptionError, match="unknown path 'hooks'"):
        tuned_by("linear", small_clip(context_length=40), path="hooks")


@given(st.floats(0.01, 1.0), st.integers(1, 70))
@settings(max_examples=10, deadline=None)
def test_clip_adapter_mixes_a_bottleneck_in(mix: float, reduction: int) -> None:
    tuned = moved_by("clip_adapter", mix=mix, reduction=reduction)
    assert tuned.trained_state()["prompts.down"].shape == (max(1, 64 // reduction), 64)
    raw = tuned.backbone.encode_image(images(5))  # as published: of features that are not normalised
    hidden = (raw @ tuned.prompts.down.T).clamp_min(0)
    mixed = mix * (hidden @ tuned.prompts.up.T).clamp_min(0) + (1 - mix) * raw
    cosine = mixed / mixed.norm(dim=-1, keepdim=True) @ tuned.template_features().T
    expected = tuned.backbone.logit_scale.exp() * cosine + tuned.backbone.logit_bias
    torch.testing.assert_close(tuned(images(5)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["tip_adapter", "tip_adapter_f"])
@given(st.floats(0.1, 5.0), st.floats(0.1, 9.0), st.lists(st.integers(0, 3), min_size=1, max_size=9))
@settings(max_examples=10, deadline=None)
def test_kept_images_vote_for_their_classes(method: str, alpha: float, beta: float, labels: list[int]) -> None:
    shown = images(len(labels)) + 0.1
    tuned = tuned_by(method, support_images=shown, support_labels=labels, alpha=alpha, beta=beta)
    with torch.no_grad():
        likeness = F.cosine_similarity(
            tuned.backbone.encode_image(images(5)).unsqueeze(1), tuned.backbone.encode_image(shown).unsqueeze(0), dim=-1
        )
        votes = torch.exp(-beta * (1 - likeness)) @ torch.eye(4, dtype=torch.float64)[labels]
        expected = zero_shot(images(5)) + alpha * votes
        torch.testing.assert_close(tuned.eval()(images(5)), expected, rtol=1e-10, atol=1e-10)


def test_images_are_kept_as_features_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tuned_by("tip_adapter").trained_state()
    monkeypatch.setattr(at_start, "IMAGES_AT_ONCE", 4)
    for clip in (small_clip(context_length=40), small_clip(context_length=40).train()):
        found = tuned_by("tip_adapter", clip).trained_state()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    given_as = {"support_images": 3 * expected["prompts.keys"].numpy(), "support_labels": np.array(LABELS)}
    known = tuned_by("tip_adapter", **given_as).trained_state()
    torch.testing.assert_close(known, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shown", [images(6), images(6).numpy(), np.ones((6, 64))])
def test_a_model_does_not_hold_the_images(shown: Any, tmp_path: Path) -> None:
    clip = small_clip(context_length=40)
    tuned = tuned_by("tip_adapter", clip, support_images=shown, support_labels=np.array(LABELS))
    assert tuned.options["support_images"] == f"<array {list(shown.shape)}>"
    assert tuned.options["support_labels"] == "<array [6]>"
    with torch.no_grad():
        expected = tuned.eval()(images())
    vpt.save(tuned, tmp_path)
    tuned.detach()
    again = vpt.load(clip, tmp_path, tokenizer=SmallTokenizer())
    assert again.options["support_images"] == tuned.options["support_images"]
    with torch.no_grad():
        assert torch.equal(again(images()), expected)


def test_the_keys_are_a_copy_of_what_was_given() -> None:
    labels = torch.tensor(LABELS)
    tuned = tuned_by("tip_adapter", support_labels=labels).eval()
    with torch.no_grad():
        before = tuned(images())
        labels.zero_()
        assert torch.equal(tuned(images()), before)


@pytest.mark.parametrize("tower", ["timm", "coca", "attention pooling"])
def test_other_image_towers(tower: str) -> None:
    clip = visual_clip(tower)
    x = images_of(clip, 6)
    for method in SHAPES:
        tuned = tuned_by(method, clip, **({"support_images": x} if method.startswith("tip") else {}))
        assert tuned.eval()(x).isfinite().all()
        tuned.detach()


# --- the promises that they keep as others do -----------------------------------------------------


@pytest.mark.parametrize("method", SHAPES)
def test_what_is_learned_and_only_that(method: str) -> None:
    clip = small_clip(context_length=40)
    before, flags = state(clip), [p.requires_grad for p in clip.parameters()]
    tuned = tuned_by(method, clip)
    assert {name.removeprefix("prompts."): tuple(p.shape) for name, p in tuned.trainable().items()} == SHAPES[method]
    if tuned.trainable():
        optimizer = torch.optim.AdamW(tuned.train().trainable().values(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(tuned(images(4)), torch.arange(4)).backward()
            optimizer.step()
        assert all(p.grad is not None and p.grad.any() for p in tuned.trainable().values())
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(tuned.trainable())
    assert same(tuned.frozen_state(), before)
    assert tuned.detach() is clip
    assert same(state(clip), before)
    assert [p.requires_grad for p in clip.parameters()] == flags


@pytest.mark.parametrize("method", LEARNING)
def test_fit_lowers_the_loss(method: str) -> None:
    options = {"mix": 0.9} if method == "clip_adapter" else {}
    tuned = tuned_by(method, small_clip(context_length=40).float(), **options)
    config = FitConfig(epochs=6, batch_size=8, lr=0.02, warmup_epochs=0, tensorboard=False)
    history = vpt.fit(tuned, Pictures(), config=config, quiet=True).history
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_fit_of_what_is_not_trained_says_so() -> None:
    with pytest.raises(TrainingError, match="nothing to train"):
        vpt.fit(tuned_by("tip_adapter"), Pictures(), quiet=True)
    assert vpt.evaluate(tuned_by("tip_adapter", small_clip(context_length=40).float()), Pictures()).loss > 0


@pytest.mark.parametrize("method", SHAPES)
def test_a_saved_task_needs_no_images(method: str, tmp_path: Path) -> None:
    clip = small_clip(context_length=40)
    tuned = moved_by(method, clip, **({"init": "text"} if method == "linear" else {}))
    with torch.no_grad():
        expected = tuned(images())
    vpt.save(tuned, tmp_path)
    learned = tuned.trained_state()
    twin = copy.deepcopy(tuned)
    tuned.detach()
    again = vpt.load(clip, tmp_path, tokenizer=SmallTokenizer())
    assert same(again.trained_state(), learned)
    with torch.no_grad():
        assert torch.equal(again(images()), expected)
        assert torch.equal(twin(images()), expected)


@pytest.mark.parametrize("method", SHAPES)
def test_an_adapter_takes_other_names_and_what_is_per_class_does_not(method: str) -> None:
    tuned, others = moved_by(method), ["vezi", "no"]
    if method != "clip_adapter":
        with pytest.raises(OptionError, match=f"'{method}' learned here belongs to its own 4 classes"):
            tuned.rebind(others)
        return
    fresh = tuned_clip(method, names=others).eval()
    fresh.load_trained_state(tuned.trained_state())
    with torch.no_grad():
        torch.testing.assert_close(tuned.rebind(others)(images()), fresh(images()))


@pytest.mark.parametrize("method", LEARNING)
def test_half_precision_keeps_what_is_learned_in_float32(method: str) -> None:
    half = tuned_by(method, small_clip(context_length=40).bfloat16())
    auto = tuned_by(method, small_clip(context_length=40).float())
    for tuned, pixels in ((half, images().bfloat16()), (auto, images().float())):
        assert {p.dtype for p in tuned.trainable().values()} == {torch.float32}
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned is auto):
            logits = tuned.train()(pixels)
        assert logits.dtype == torch.float32
        logits.sum().backward()
        assert all(p.grad.isfinite().all() for p in tuned.trainable().values())


# --- what is refused ------------------------------------------------------------------------------


def broken() -> Tensor:
    pixels = images(6)
    pixels[2, 0, 0, 0] = float("nan")
    return pixels


@pytest.mark.parametrize(
    ("method", "options", "error", "message"),
    [
        ("linear", {"init": "texts"}, OptionError, "unknown init 'texts' (did you mean 'text'?)"),
        ("linear", {"init": None}, OptionError, "unknown init None"),
        ("linear", {"init": "text", "templates": "a"}, OptionError, "templates 'a'; accepted: texts with one {}"),
        ("clip_adapter", {"mix": 0}, OptionError, "mix is 0; accepted: the share of the adapter's answer"),
        ("clip_adapter", {"mix": 1.5}, OptionError, "mix is 1.5"),
        ("clip_adapter", {"reduction": 0}, OptionError, "reduction is 0; accepted: a whole number, 1 or more"),
        ("tip_adapter", {"alpha": -1}, OptionError, "alpha is -1; accepted: a number above 0"),
        ("tip_adapter_f", {"beta": float("nan")}, OptionError, "beta is nan"),
        ("tip_adapter", {"support_images": None}, OptionError, "none are given; accepted: support_images=[n, 3, H, W]"),
        ("tip_adapter_f", {"support_labels": None}, OptionError, "none are given"),
        ("tip_adapter", {"support_images": [[1.0]]}, OptionError, "support_images is a list"),
        ("tip_adapter", {"support_labels": "cats"}, OptionError, "support_labels is 'cats'"),
        ("tip_adapter", {"support_images": images(6)[:, :1]}, DataError, "has shape [6, 1, 16, 16]; this model takes"),
        ("tip_adapter", {"support_images": images(6)[..., :8]}, DataError, "this model takes [n, 3, 16, 16], or feat"),
        ("tip_adapter", {"support_images": images(6)[0]}, DataError, "support_images has shape [3, 16, 16]"),
        ("tip_adapter", {"support_images": torch.ones(6, 63)}, DataError, "features [n, 64]"),
        ("tip_adapter", {"support_images": images(6).byte()}, DataError, "holds torch.uint8, not floats"),
        ("tip_adapter", {"support_images": broken()}, DataError, "1 of 6 support_images hold NaN or infinity, first n"),
        ("tip_adapter", {"support_labels": [0, 1, 2]}, DataError, "6 support_images and 3 support_labels"),
        ("tip_adapter", {"support_labels": [0.0] * 6}, DataError, "support_labels is torch.float32 of shape [6]"),
        ("tip_adapter", {"support_labels": [[0]] * 6}, DataError, "not whole numbers [n]"),
        (
            "tip_adapter_f", {"support_labels": [0, 1, 4, -1, 2, 3]}, DataError,
            "2 of 6 support_labels are outside 0 ... 3, first number 2 with label 4",
        ),
        (
            "tip_adapter", {"support_images": broken(), "support_labels": [9]}, DataError,
            "first number 2; 6 support_images and 1 support_labels; 1 of 1 support_labels are outside 0 ... 3",
        ),
    ],
)  # fmt: skip
def test_wrong_options_and_data_are_named(
    method: str, options: dict[str, Any], error: type[VptError], message: str
) -> None:
    clip = small_clip(context_length=40)
    with pytest.raises(error, match=re.escape(message)):
        tuned_by(method, clip, **options)
    tuned_clip("coop", clip)  # the model is as it was


def test_no_image_at_all_is_no_support() -> None:
    with pytest.raises(DataError, match=re.escape("support_images has shape [0, 3, 16, 16]")):
        tuned_by("tip_adapter", support_images=images(6)[:0], support_labels=[])
