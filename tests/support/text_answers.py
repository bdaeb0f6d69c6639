"""What a method answers on one path of learned texts, to hold paths together."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import vpt
from support.small_tokenizer import SmallTokenizer
from support.text_towers import images

METHODS: dict[str, dict[str, Any]] = {
    "end": {"method": "coop"},
    "middle": {"method": "coop", "position": "middle"},
    "front": {"method": "coop", "position": "front"},
    "specific": {"method": "coop", "class_specific": True},
    "images": {"method": "cocoop"},
    "templates": {"method": "taskres", "templates": ["{}.", "no {} at all."]},
}

DEEPER: dict[str, dict[str, Any]] = {
    "two blocks": {"method": "ivlp", "words": "an x of no sea", "context_length": 3, "depth": 2},
    "every block": {"method": "ivlp", "words": "an x of no sea", "context_length": 2, "depth": 3},
}
"""Tokens of their own in later blocks, too, where a tower can be taken apart."""


CLASS_NAMES = st.lists(
    st.lists(st.text("abenoz", min_size=1, max_size=2), min_size=1, max_size=12).map(" ".join),
    min_size=1, max_size=7, unique_by=lambda name: name.replace(" ", ""),
)  # fmt: skip
"""Names of one class or more, of 1 to 12 words."""


def answers(clip: Any, path: str, names: list[str], method: str, **options: Any) -> list[Tensor]:
    """Logits, and gradients of all that is learned, on one path."""
    if method in ("coop", "cocoop"):
        options = {"context_length": 3, **options}
    tuned = vpt.tune(clip, method, classnames=names, tokenizer=SmallTokenizer(), path=path, seed=4, **options)
    with torch.no_grad():
        for parameter in tuned.trainable().values():
            parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(5))
    logits = tuned(images())
    (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    found = [logits.detach(), *(p.grad.clone() for p in tuned.trainable().values())]
    tuned.detach()
    return found


def assert_equal(fused: list[Tensor], plain: list[Tensor]) -> None:
    """To 1e-10 of the largest number in each tensor."""
    for a, b in zip(fused, plain, strict=True):
        assert b.abs().max() > 1e-6, "nothing to compare"
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * float(b.abs().max()))
