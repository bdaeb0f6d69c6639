"""Class names as tokens: where the context stands, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.small_tokenizer import END, PAD, START, SmallTokenizer

from vpt.errors import OptionError
from vpt.prompts.class_texts import check_names, with_context, with_templates
from vpt.prompts.words import Words

WORDS = Words(SmallTokenizer())
LETTERS = "abenoz0-"


def test_words_find_out_what_a_tokenizer_puts_around() -> None:
    assert (WORDS.start, WORDS.end, WORDS.pad) == ([START], [END], PAD)
    assert WORDS(["no", "", "a sea."]) == [SmallTokenizer().encode(text) for text in ("no", "", "a sea.")]
    assert WORDS([]) == []
    t5 = Words(SmallTokenizer(start=False, end=1, pad=1))  # SigLIP's way: the end is padding, and nothing in front
    assert (t5.start, t5.end, t5.pad) == ([], [1], 1)
    assert t5(["no."]) == [SmallTokenizer().encode("no.")]


def test_nothing_is_cut_off() -> None:
    assert len(WORDS(["no" * 500])[0]) == 500


@given(
    names=st.lists(
        st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=12).map(" ".join),
        min_size=1, max_size=5, unique_by=lambda name: tuple(SmallTokenizer().encode(name)),
    ),
    context=st.integers(1, 9),
    position=st.sampled_from(["end", "middle", "front"]),
)  # fmt: skip
def test_without_the_context_a_text_is_the_tokenizers_own(names: list[str], context: int, position: Any) -> None:
    texts = with_context(WORDS, names, 70, context, position)
    plain = SmallTokenizer()([f"{name}." for name in names], 70)
    assert texts.ids.shape == (len(names), 70)
    assert texts.slots.shape == (len(names), context)
    for row, slots, own in zip(texts.ids.tolist(), texts.slots.tolist(), plain.tolist(), strict=True):
        assert len(set(slots)) == context
        rest = [token for place, token in enumerate(row) if place not in slots]
        assert rest == own[: 70 - context]
        assert not {row[slot] for slot in slots} & {PAD, START, END}
    for name, slots in zip(names, texts.slots.tolist(), strict=True):
        before = {"end": context, "middle": context // 2, "front": 0}[position]
        length = len(SmallTokenizer().encode(name))
        assert slots == [*range(1, 1 + before), *range(1 + before + length, 1 + context + length)]
    assert texts.shared == (1 + context if position == "end" else 0)


def test_underscores_are_blanks_and_templates_take_turns() -> None:
    texts = with_templates(WORDS, ["sea_lion", "no"], ["a {}.", "{} here"], 20)
    expected = SmallTokenizer()(["a sea lion.", "sea lion here", "a no.", "no here"])
    assert torch.equal(texts.ids, expected)
    assert texts.shared == 1


@pytest.mark.parametrize(
    ("names", "faults"),
    [
        ([], ["classnames is []"]),
        ("cat", ["classnames is 'cat'; accepted: a list"]),
        (None, ["classnames is None"]),
        (["no", "no"], ["'no' stands twice (names 0 and 1)"]),
        (["sea lion", "Sea_Lion"], ["'Sea_Lion' reads like 'sea lion' and stands twice (names 0 and 1)"]),
        (["", "no", " _ "], ["name 0 is empty", "name 2 is empty"]),
        (["no", 3, "é è", ""], ["name 1 is 3, not a text", "'é è' (name 2) has 'è', 'é'", "name 3 is empty"]),
    ],
)
def test_all_faulty_names_are_told_at_once(names: Any, faults: list[str]) -> None:
    for make in (
        lambda: check_names(WORDS, names),
        lambda: with_context(WORDS, names, 20, 4),
        lambda: with_templates(WORDS, names, ["{}"], 20),
    ):
        with pytest.raises(OptionError) as error:
            make()
        assert all(fault in str(error.value) for fault in faults)


def test_what_a_tokenizer_drops_is_told_unless_it_is_punctuation() -> None:
    words = Words(SmallTokenizer(drops="-z"))
    check_names(words, ["go-kart"])
    with pytest.raises(OptionError, match=re.escape("'zen' (name 0) has 'z', which the tokenizer does not know")):
        check_names(words, ["zen"])
    with pytest.raises(OptionError, match=re.escape("of '--' (name 0) the tokenizer leaves nothing")):
        check_names(words, ["--"])


def test_names_with_the_tokenizers_own_marks() -> None:
    class Marked(SmallTokenizer):
        def encode(self, text: str) -> list[int]:
            return [END] if text.startswith("<end>") else super().encode(text)

    with pytest.raises(OptionError, match=re.escape("'<end>' (name 0) holds the tokenizer's own start or end")):
        check_names(Words(Marked()), ["<end>"])


def test_names_and_contexts_that_do_not_fit() -> None:
    fits = "no" * 12
    assert with_context(WORDS, [fits], 20, 5).ids.shape == (1, 20)
    too_long = "no" * 13
    with pytest.raises(OptionError) as error:
        with_context(WORDS, [fits, too_long, too_long + "-"], 20, 5)
    for part in ("2 of 3 classnames are too long", f"'{too_long}' has 14 tokens with its full stop, 13 fit beside"):
        assert part in str(error.value)
    with pytest.raises(OptionError, match="context_length is 18; accepted: 1 to 17"):
        with_context(WORDS, ["no"], 20, 18)
    with pytest.raises(OptionError, match="1 of 2 texts are too long"):
        with_templates(WORDS, ["no", "no" * 20], ["{}"], 20)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (lambda texts: torch.zeros(len(texts), 77), "accepted: what open_clip.get_tokenizer answers"),
        (lambda texts, context_length: torch.zeros(len(texts), 3), "answered ids [2, 3] for 2 texts of 16 tokens"),
        (lambda texts, context_length: torch.tensor([[1] + [0] * (context_length - 2) + [5 + len(t)] for t in texts]),
         "puts tokens after the padding"),
        (SmallTokenizer(drops="x"), "makes no token of an x"),
    ],
)  # fmt: skip
def test_tokenizers_that_are_none(tokenizer: Any, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        Words(tokenizer)
