"""What contexts start from: words where they fit, else random numbers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import torch
from support.small_tokenizer import SmallTokenizer
from support.text_towers import small_clip
from support.tuned_clips import tuned_clip

from vpt.errors import OptionError

PHOTO = SmallTokenizer().encode("a photo of a")


def tokens(method: str, **options: Any) -> torch.Tensor:
    return tuned_clip(method, **options).get_parameter("prompts.tokens").detach()


def embedded(ids: list[int]) -> torch.Tensor:
    return small_clip(context_length=40).token_embedding.weight[torch.tensor(ids)].detach()


@pytest.mark.parametrize("method", ["cocoop", "kgcoop"])
def test_a_photo_of_a_is_four_tokens_of_clips_own_tokenizer(method: str) -> None:
    clip = small_clip(vocab_size=49408, context_length=40)
    started = tokens(method, clip=clip, tokenizer=None)
    ids = open_clip.tokenize("a photo of a")[0, 1:5]
    assert torch.equal(started, clip.token_embedding.weight[ids])


@pytest.mark.parametrize("method", ["coop", "cocoop", "kgcoop"])
def test_where_the_words_are_not_as_many_as_the_context_it_is_random(method: str) -> None:
    options = {"init": "photo", "seed": 3}
    fitting = tokens(method, context_length=len(PHOTO), **options)
    assert torch.equal(fitting, embedded(PHOTO))
    for length in (len(PHOTO) - 1, len(PHOTO) + 1):
        assert torch.equal(
            tokens(method, context_length=length, **options),
            tokens(method, context_length=length, **(options | {"init": "normal"})),
        )


def test_defaults_words_and_arrays() -> None:
    length = len(PHOTO)
    assert torch.equal(tokens("kgcoop", context_length=length), embedded(PHOTO)), "as published"
    assert not torch.equal(tokens("coop", context_length=length), embedded(PHOTO)), "as published"
    assert not torch.equal(tokens("kgcoop", context_length=length, init="normal"), embedded(PHOTO))
    words = SmallTokenizer().encode("no sea")
    assert torch.equal(tokens("kgcoop", words="no sea"), embedded(words))
    ones = torch.ones(4, 12)
    assert torch.equal(tokens("cocoop", init=ones), ones.double())
    with pytest.raises(OptionError, match="words is 'no sea' and init is given too"):
        tokens("cocoop", words="no sea", init=ones)
    with pytest.raises(OptionError, match=r"unknown init 'foto' \(did you mean 'photo'\?\); accepted: normal, photo"):
        tokens("cocoop", init="foto")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": torch.tensor([[1.0] * 11 + [float("nan")]] * 2)}, "init holds NaN or infinity at 2 of 24 places"),
        ({"init": torch.full((2, 12), float("inf"))}, "init holds NaN or infinity at 24 of 24 places"),
        ({"class_specific": "no"}, "class_specific is 'no'; accepted: true or false"),
        ({"class_specific": 2}, "class_specific is 2; accepted: true or false"),
    ],
)
def test_wrong_starts_and_flags(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        tokens("coop", context_length=2, **options)
