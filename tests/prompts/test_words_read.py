"""Ids turned back into text, by the tokenizers that can."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
from support.small_tokenizer import SmallTokenizer

from vpt.prompts.words import Words


class Telling(SmallTokenizer):
    """A tokenizer that decodes, with no mark at the ends of words; of the last ids it knows nothing."""

    def decode(self, ids: Sequence[int]) -> str:
        texts = {i: token for token, i in self.ids.items()}
        return "".join(" " if i == 90 else texts[i] for i in ids)


class Wrapped:
    """As open_clip wraps a tokenizer of transformers."""

    def __init__(self) -> None:
        self.tokenizer = Telling()

    def __call__(self, texts: list[str], context_length: int = 20) -> object:
        return self.tokenizer(texts, context_length)


@pytest.mark.parametrize("tokenizer", [open_clip.tokenize, open_clip.SimpleTokenizer()], ids=["function", "object"])
def test_clips_own_tells_words_from_beginnings(tokenizer: object) -> None:
    words = Words(tokenizer)  # type: ignore[arg-type]
    for text in ("cat", "photo", "a", ".", "é"):
        (token,) = words([text])[0]
        assert words.read(token) == text
    first, *_, last = words(["unphotographable"])[0]
    assert words.read(first) == "un…"
    assert not str(words.read(last)).endswith("…")
    assert words.read(words.start[0]) == "<start_of_text>"
    assert words.read(49408) is None


def test_every_row_of_clips_vocabulary_reads_as_something() -> None:
    words = Words(open_clip.tokenize)
    assert all(words.read(token) for token in range(0, 49408, 97))


@pytest.mark.parametrize("tokenizer", [Telling(), Wrapped()], ids=["plain", "wrapped"])
def test_without_marks_no_token_is_called_a_beginning(tokenizer: object) -> None:
    words = Words(tokenizer)  # type: ignore[arg-type]
    assert words.read(words(["ba"])[0][0]) == "ba"
    assert words.read(90) is None, "a blank says nothing"
    assert words.read(98) is None, "beyond the vocabulary"


def test_a_tokenizer_that_cannot_decode_tells_nothing() -> None:
    words = Words(SmallTokenizer())
    assert [words.read(token) for token in (3, 40, 99)] == [None] * 3
