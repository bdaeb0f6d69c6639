"""Hugging Face's encoders as text towers: contexts enter on the embedding of ids, and texts are cut at their ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")
pytest.importorskip("transformers", reason="needs transformers, which comes with 'vpt[peft]'")

import open_clip
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.hf_model import MaxPooler
from support.hf_tokenizers import HF_TOKENIZERS, hf_tokenizer
from support.small_tokenizer import SmallTokenizer
from support.text_answers import CLASS_NAMES, METHODS, answers, assert_equal
from support.text_towers import HF_TOWERS, images, small_clip, small_hf_clip
from support.tuned_clips import NAMES, moved, tuned_clip
from torch import Tensor

import vpt
from vpt.attach import text_fused
from vpt.errors import BackboneMismatch, OptionError, UnsupportedBackbone
from vpt.prompts.words import Words
from vpt.sites.clip_hf_text import HFTextSite
from vpt.sites.clip_text import text_site
from vpt.sites.fingerprint import architecture

PATHS = ["plain", "fused"]
KINDS: dict[str, dict[str, Any]] = {
    **METHODS,
    "specific, middle": {"method": "coop", "class_specific": True, "position": "middle"},
    "specific, front": {"method": "coop", "class_specific": True, "position": "front"},
    "near templates": {"method": "kgcoop", "templates": "no {}."},
}
POSITIONS = {"bert": 41, "roberta": 40, "xlm-roberta": 40, "mt5": 77, "m2m_100": 41}


def longest(names: list[str]) -> int:
    return max(len(SmallTokenizer().encode(f"{name}.")) for name in names)


def seen_by_blocks(clip: Any) -> list[tuple[int, ...]]:
    """The shapes of all that goes into the first block of the encoder."""
    shapes: list[tuple[int, ...]] = []
    text_site(clip).blocks[0].register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


# --- the definition: what stock open_clip answers ---------------------------------------------------


@pytest.mark.parametrize("tower", HF_TOWERS)
def test_what_a_site_tells(tower: str) -> None:
    clip, row = small_hf_clip(tower), HF_TOWERS[tower]
    site = text_site(clip)
    assert isinstance(site, HFTextSite)
    assert (site.depth, site.heads, site.features, site.vocabulary) == (3, 3, 64, 100)
    assert (site.kind, site.width, site.dtype) == (row["kind"], row.get("d_model", 12), torch.float64)
    assert site.context_length == POSITIONS[row["kind"]]
    assert site.causal == row.get("is_decoder", False)
    full = SmallTokenizer()(["no" * 99], site.context_length)
    assert clip.encode_text(full).isfinite().all(), "as many tokens as the site says are encoded"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tower", HF_TOWERS)
def test_texts_without_and_with_a_context_are_open_clips_own(tower: str, path: str) -> None:
    clip = small_hf_clip(tower)
    texts = SmallTokenizer()([f"no sea {name}." for name in NAMES], 30)
    expected = clip.encode_text(texts, normalize=True)
    fixed = vpt.tune(clip, "zero_shot", classnames=NAMES, tokenizer=SmallTokenizer(), templates="no sea {}.", path=path)
    torch.testing.assert_close(fixed.text_features(), expected)
    fixed.detach()
    # a context that starts as words and has learned nothing reads as these words
    learned = vpt.tune(clip, "coop", classnames=NAMES, tokenizer=SmallTokenizer(), words="no sea", path=path)
    torch.testing.assert_close(learned.text_features(), expected)


@pytest.mark.parametrize("tokenizer", HF_TOKENIZERS)
@pytest.mark.parametrize("path", PATHS)
def test_with_a_real_tokenizer_of_its_own(tokenizer: str, path: str, tmp_path: Path) -> None:
    own = hf_tokenizer(tokenizer, tmp_path)
    clip = small_hf_clip("roberta, mean", vocab_size=300, pad_token_id=own.tokenizer.pad_token_id)
    expected = clip.encode_text(own([f"a photo of a {name}." for name in NAMES]), normalize=True)
    ask = dict(classnames=NAMES, tokenizer=own, path=path)
    fixed = vpt.tune(clip, "zero_shot", templates="a photo of a {}.", **ask)
    torch.testing.assert_close(fixed.text_features(), expected)
    fixed.detach()
    torch.testing.assert_close(vpt.tune(clip, "coop", words="a photo of a", **ask).text_features(), expected)


# --- the fast path is the definition ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tower", HF_TOWERS)
def test_fused_equals_plain(tower: str, kind: str) -> None:
    clip, names = small_hf_clip(tower), [*NAMES, "x"]
    assert_equal(answers(clip, "fused", names, **KINDS[kind]), answers(clip, "plain", names, **KINDS[kind]))


@settings(max_examples=20, deadline=None)
@given(
    names=CLASS_NAMES,
    context=st.integers(1, 5),
    kind=st.sampled_from(["end", "middle", "front", "specific", "images"]),
    tower=st.sampled_from(list(HF_TOWERS)),
    tokens_at_once=st.sampled_from([1, 30, 2048]),
)  # fmt: skip
def test_any_names_in_any_chunks(names: list[str], context: int, kind: str, tower: str, tokens_at_once: int) -> None:
    clip, options = small_hf_clip(tower), {**METHODS[kind], "context_length": context}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_fused, "TOKENS_AT_ONCE", tokens_at_once)
        fused = answers(clip, "fused", names, **options)
    assert_equal(fused, answers(clip, "plain", names, **options))


def test_texts_are_cut_at_their_ends_and_go_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_fused, "TOKENS_AT_ONCE", 20)
    clip = small_hf_clip()
    tuned = tuned_clip("coop", clip, context_length=2)
    shapes = seen_by_blocks(clip)
    features = tuned.train().text_features()
    assert max(length for _, length, _ in shapes) == 1 + 2 + longest(NAMES) + 1
    assert sum(texts for texts, _, _ in shapes) == len(NAMES)
    chunks = len(shapes)
    assert chunks > 1
    features.sum().backward()
    assert chunks < len(shapes) < 2 * chunks, "the backward pass computes the portions again, all but the last"


# --- choosing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tower", "reason"),
    [
        ("roberta, mean", "texts are cut at their ends, since the tower hides padding"),
        ("bert, causal", "texts are cut at their ends; no common start, since no parts are known of BertLayer"),
    ],
)
def test_summary_says_how_far_the_fast_path_goes(tower: str, reason: str) -> None:
    summary = tuned_clip("coop", small_hf_clip(tower), context_length=3).summary()
    assert f"path: fused (exact here: {reason})" in summary
    assert "text tower of 3 blocks of width 12" in summary


def test_what_embedded_tokens_would_change_takes_the_plain_path() -> None:
    clip, seen = small_hf_clip(), []
    handle = clip.text.register_forward_hook(lambda *_: seen.append(1))
    tuned = tuned_clip("coop", clip, context_length=3)
    assert (tuned.path, "has hooks" in tuned.reason) == ("plain", True)
    tuned(images())
    assert seen
    tuned.detach()
    handle.remove()
    clip.text.config.model_type = "new"
    assert "whether a new numbers embedded tokens" in tuned_clip("coop", clip, context_length=3).reason


def test_tokens_of_later_blocks_enter_by_hooks() -> None:
    for tower in ("bert, mean", "mt5, mean", "m2m_100, first"):
        tuned = tuned_clip("ivlp", small_hf_clip(tower), depth=3)
        assert "text plain: tokens enter the blocks of a Hugging Face encoder by hooks" in tuned.reason
        tuned(images()).pow(2).sum().backward()
        deeper = tuned.trainable()["prompts.text.deeper"].grad
        assert deeper is not None
        assert (deeper.abs().amax((1, 2)) > 0).all(), "every block reads its own"


def test_fused_says_why_not() -> None:
    clip = small_hf_clip()
    clip.text.config.model_type = "new"
    with pytest.raises(OptionError, match="path='fused' is not possible here: whether a new numbers embedded tokens"):
        tuned_clip("coop", clip, context_length=3, path="fused")


# --- frozen, saved, bound again ---------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["end", "specific", "images", "near templates", "templates"])
def test_only_what_is_learned_changes_and_dropout_is_off(kind: str, path: str) -> None:
    clip = small_hf_clip("bert, pooler")
    assert any(module.p for module in clip.modules() if isinstance(module, torch.nn.Dropout))
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    tuned = moved(clip=clip, path=path, **KINDS[kind]).train()
    assert not any(module.training for module in clip.modules())
    assert torch.equal(tuned(images()), tuned(images())), "nothing is dropped"
    step = torch.optim.SGD(tuned.trainable().values(), 0.1)
    first = tuned(images()).detach()
    (tuned(images()).pow(2).mean() + (tuned.regulariser() or 0)).backward()
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(tuned.trainable())
    step.step()
    assert not torch.equal(tuned(images()), first)
    assert tuned.detach() is clip
    assert before.keys() == clip.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in clip.modules())
    assert all(parameter.requires_grad for parameter in clip.parameters())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["end", "images", "near templates"])
def test_other_class_names_with_what_was_learned(kind: str, path: str) -> None:
    others = ["vezi", "a sea at no sea", "no"]
    tuned = moved(clip=small_hf_clip(), path=path, **KINDS[kind]).rebind(others)
    fresh = tuned_clip(clip=small_hf_clip(), names=others, path=path, **KINDS[kind]).eval()
    fresh.load_trained_state(tuned.trained_state())
    with torch.no_grad():
        torch.testing.assert_close(tuned(images()), fresh(images()))


@pytest.mark.parametrize("tower", ["bert, pooler", "xlm-roberta, first", "mt5, mean"])
def test_it_comes_back_on_that_encoder_and_on_no_other(tower: str, tmp_path: Path) -> None:
    tuned = moved("coop", small_hf_clip(tower), position="middle", context_length=3)
    vpt.save(tuned, tmp_path)
    again = vpt.load(small_hf_clip(tower), tmp_path, tokenizer=SmallTokenizer()).eval()
    with torch.no_grad():
        assert torch.equal(again(images()), tuned(images()))
    other = small_hf_clip(tower)
    other.text.transformer.get_input_embeddings().weight.data[3] += 1
    for model in (other, small_hf_clip(tower, pooler="mean" if tower != "mt5, mean" else "cls")):
        with pytest.raises(BackboneMismatch):
            vpt.load(model, tmp_path, tokenizer=SmallTokenizer())


def test_a_fingerprint_tells_what_tensors_do_not() -> None:
    facts = architecture(small_hf_clip("xlm-roberta, mean"))
    assert json.loads(json.dumps(facts)) == facts
    known = {
        "kind": "xlm-roberta", "depth": 3, "width": 12, "heads": 3, "vocabulary": 100, "pooling": "mean", "padding": 0,
        "causal": False, "length": 40, "activation": "GELUActivation",
    }  # fmt: skip
    assert {name: facts[f"text {name}"] for name in known} == known
    changes: list[dict[str, Any]] = [
        {"kind": "roberta"}, {"pooler": "cls"}, {"pad_token_id": 1}, {"hidden_act": "relu"}, {"num_attention_heads": 2},
    ]  # fmt: skip
    others = [architecture(small_hf_clip("xlm-roberta, mean", **change)) for change in changes]
    assert len({json.dumps(each) for each in [facts, *others]}) == 1 + len(changes)
    assert "text kind" not in architecture(small_clip()), "fingerprints of open_clip's own towers stay as they were"


# --- tokenizers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "start", "end", "pad"),
    [("wordpiece", ["[CLS]"], ["[SEP]"], "[PAD]"), ("byte pairs", ["<s>"], ["</s>"], "<pad>"),
     ("pieces", [], ["</s>"], "<pad>")],
)  # fmt: skip
def test_words_learn_a_tokenizers_own_marks(
    kind: str, start: list[str], end: list[str], pad: str, tmp_path: Path
) -> None:
    tokenizer = hf_tokenizer(kind, tmp_path)
    words, ids = Words(tokenizer), tokenizer.tokenizer.convert_tokens_to_ids
    assert (words.start, words.end, words.pad) == (ids(start), ids(end), ids(pad))
    assert words.filler not in {*words.start, *words.end, words.pad, words.unknown}
    row = words.row(words(["sea lion at 9."])[0], 40)
    assert row == tokenizer(["sea lion at 9."])[0].tolist()
    assert words.row(words(["a photo of a", ""])[1], 40) == tokenizer([""])[0].tolist()
    (photo,), (name,) = words(["a photo of a"]), words(["sea lion."], inside=True)
    assert words.row([*photo, *name], 40) == tokenizer(["a photo of a sea lion."])[0].tolist()


def test_a_tokenizer_that_makes_many_tokens_of_one_character_cuts_nothing(tmp_path: Path) -> None:
    words = Words(hf_tokenizer("pieces", tmp_path))
    (ids,) = words(["\u3300" * 20])  # one character of 3 bytes, which NFKC writes as 4
    assert len(ids) == len(words(["\u30a2\u30d1\u30fc\u30c8" * 20])[0])
    (expanded,) = words(["\ufb03" * 20])
    assert expanded == words(["ffi" * 20])[0]


def test_words_that_a_tokenizer_knows_letter_by_letter_only(tmp_path: Path) -> None:
    own = hf_tokenizer("wordpiece", tmp_path)
    assert own.tokenizer.unk_token_id in own(["z" * 200])[0].tolist()
    with pytest.raises(OptionError, match=re.escape("(name 1) has a word that the tokenizer does not know")):
        vpt.tune(small_hf_clip(), "zero_shot", classnames=["cat", "z" * 200], tokenizer=own)
    with pytest.raises(OptionError, match=re.escape("'漢 cat' (name 0) has '漢', which the tokenizer does not know")):
        vpt.tune(small_hf_clip(), "zero_shot", classnames=["漢 cat"], tokenizer=own)


# --- what does not fit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (None, "Hugging Face's bert, whose tokenizer the model does not hold; give it: tokenizer=open_clip"),
        (SmallTokenizer(pad=7), "this text tower hides id 0, the tokenizer fills up with 7"),
        (SmallTokenizer(end=100), "this text tower knows 100 tokens, the tokenizer an id 100"),
        (open_clip.tokenize, "this text tower knows 100 tokens, the tokenizer an id 49407"),
    ],
)
def test_tokenizers_of_other_models(tokenizer: Any, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        vpt.tune(small_hf_clip(), "coop", classnames=NAMES, tokenizer=tokenizer)


def test_names_that_do_not_fit_the_encoders_positions() -> None:
    with pytest.raises(OptionError, match="has 39 tokens with its full stop, 35 fit beside a context of 4"):
        tuned_clip("cocoop", small_hf_clip(), ["no" * 38])


def test_towers_that_take_no_context() -> None:
    maximum, unpadded = small_hf_clip(), small_hf_clip()
    maximum.text.pooler = MaxPooler()
    unpadded.text.config.pad_token_id = None
    faults = {
        "its text tower pools by a MaxPooler, not by the mean or the first token": maximum,
        "names no padding": unpadded,
        "reads the first token, which no later one reaches": small_hf_clip("bert, causal", pooler="cls"),
    }
    for fault, clip in faults.items():
        with pytest.raises(UnsupportedBackbone, match=fault):
            text_site(clip)


class OwnForward(open_clip.CustomTextCLIP):
    """A CLIP that encodes texts in a way of its own."""

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        return self.text(text) * 2


def test_a_subclass_with_a_forward_of_its_own_is_refused() -> None:
    with pytest.raises(UnsupportedBackbone, match="its text tower is not known"):
        text_site(small_hf_clip(clip=OwnForward))
