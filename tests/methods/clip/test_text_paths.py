"""Fused texts equal open_clip's own computation, outputs and gradients, for every kind of text tower."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_tokenizer import SmallTokenizer
from support.text_answers import CLASS_NAMES, DEEPER, METHODS, answers, assert_equal
from support.text_towers import TOWERS, images, small_clip

import vpt
from vpt.attach import text_fused
from vpt.errors import OptionError

NAMES = ["cat", "sea lion", "go-kart", "x", "vezi tomi la"]


KINDS = METHODS | DEEPER


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tower", TOWERS)
def test_fused_equals_plain(tower: str, kind: str) -> None:
    clip = small_clip(tower)
    assert_equal(answers(clip, "fused", NAMES, **KINDS[kind]), answers(clip, "plain", NAMES, **KINDS[kind]))


@settings(max_examples=25, deadline=None)
@given(
    names=CLASS_NAMES,
    context=st.integers(1, 5),
    kind=st.sampled_from([kind for kind in KINDS if kind != "templates"]),
    tower=st.sampled_from(["flat", "text, class token", "text, last"]),
    tokens_at_once=st.sampled_from([1, 30, 2048]),
)  # fmt: skip
def test_any_names_in_any_chunks(names: list[str], context: int, kind: str, tower: str, tokens_at_once: int) -> None:
    clip, options = small_clip(tower, context_length=40), {**KINDS[kind], "context_length": context}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_fused, "TOKENS_AT_ONCE", tokens_at_once)
        fused = answers(clip, "fused", names, **options)
    assert_equal(fused, answers(clip, "plain", names, **options))


def test_quick_gelu_and_gradient_checkpointing_are_the_towers_own() -> None:
    clip = small_clip("flat", quick_gelu=True)
    plain = answers(clip, "plain", NAMES, "coop")
    clip.set_grad_checkpointing(True)
    for kind in ("end", "middle"):
        fused = answers(clip, "fused", NAMES, **METHODS[kind])
        assert_equal(fused, answers(clip, "plain", NAMES, **METHODS[kind]))
    assert_equal(answers(clip, "fused", NAMES, "coop"), plain)


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("kind", DEEPER)
def test_recomputed_blocks_keep_tokens_of_their_own(kind: str, path: str) -> None:
    clip = small_clip("flat")
    expected = answers(clip, path, NAMES, **DEEPER[kind])
    clip.set_grad_checkpointing(True)
    assert_equal(answers(clip, path, NAMES, **DEEPER[kind]), expected)
    assert clip.transformer.grad_checkpointing, "as it was"


def test_text_features_are_open_clips_own() -> None:
    clip, tokenizer = small_clip("text"), SmallTokenizer()
    tuned = vpt.tune(clip, "zero_shot", classnames=NAMES, tokenizer=tokenizer, templates="a {}.")
    texts = tokenizer([f"a {name}." for name in NAMES])
    torch.testing.assert_close(tuned.text_features(), clip.encode_text(texts, normalize=True))
    image, text, scale, bias = clip(images(), texts)
    torch.testing.assert_close(tuned(images()), scale * image @ text.T + bias)


def counted(clip: Any) -> list[tuple[int, ...]]:
    """The shapes of all that goes into the first MLP of the text tower."""
    shapes: list[tuple[int, ...]] = []
    tower = getattr(clip, "text", clip)
    tower.transformer.resblocks[0].mlp.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


def test_a_shared_context_runs_once_and_only_names_run_per_class() -> None:
    clip = small_clip("flat")
    tuned = vpt.tune(clip, "coop", classnames=NAMES, tokenizer=SmallTokenizer(), context_length=5)
    shapes, own = counted(clip), sum(len(SmallTokenizer().encode(f"{name}.")) + 1 for name in NAMES)
    tuned.text_features()
    assert shapes[0] == (1, 1 + 5, 12)
    assert sum(texts for texts, _, _ in shapes[1:]) == len(NAMES)
    assert own <= sum(texts * tokens for texts, tokens, _ in shapes[1:]) <= own / 0.8, "little is computed of padding"
    assert (
        "path: fused (exact here: texts are cut at their ends, and their common start is computed once)"
        in tuned.summary()
    )


def test_classes_go_in_portions_and_all_but_the_last_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = small_clip("flat")
    monkeypatch.setattr(text_fused, "TOKENS_AT_ONCE", 8)
    names = [f"{a}{b}" for a in "abcde" for b in "xyz"]  # of one length
    tuned = vpt.tune(clip, "coop", classnames=names, tokenizer=SmallTokenizer(), context_length=2)
    shapes = counted(clip)
    features = tuned.train().text_features()
    chunks = [shape[0] for shape in shapes[1:]]
    assert sum(chunks) == len(names)
    assert len(chunks) > 2
    features.sum().backward()
    assert len(shapes) == 2 * len(chunks), "the backward pass runs all but the last again, not what they share"


@pytest.mark.parametrize(
    ("tower", "options", "reason"),
    [
        ("flat", {"position": "middle"}, "no common start, since names stand at the middle of the context"),
        ("flat", {"class_specific": True}, "no common start, since every class has a context of its own"),
        ("text, SigLIP", {}, "whole texts in chunks, since without a causal mask"),
    ],
)
def test_auto_says_how_far_it_goes(tower: str, options: dict[str, Any], reason: str) -> None:
    tuned = vpt.tune(
        small_clip(tower), "coop", classnames=NAMES, tokenizer=SmallTokenizer(), context_length=3, **options
    )
    assert tuned.path == "fused"
    assert reason in tuned.reason


def test_hooks_that_would_not_run_are_respected() -> None:
    ask = dict(classnames=NAMES, tokenizer=SmallTokenizer(), context_length=3)
    clip, seen = small_clip("text"), []
    handle = clip.text.transformer.resblocks[1].attn.register_forward_hook(lambda *_: seen.append(1))
    tuned = vpt.tune(clip, "coop", **ask)
    assert "no common start, since a MultiheadAttention has hooks" in tuned.reason
    tuned(images())
    assert seen
    tuned.detach()
    handle.remove()
    clip.text.register_forward_hook(lambda *_: None)
    assert vpt.tune(clip, "coop", **ask).path == "plain"
    with pytest.raises(OptionError, match=re.escape("path='fused' is not possible here: the text tower has hooks")):
        vpt.tune(small_hooked(), "coop", path="fused", **ask)


def small_hooked() -> Any:
    clip = small_clip("text")
    clip.text.register_forward_hook(lambda *_: None)
    return clip
