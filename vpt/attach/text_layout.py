"""What the fast path of learned texts computes, and in which portions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_text_site import TextSite

FULL = 0.8
"""Least share of own tokens, rather than padding, in a text of a group."""


@dataclass(frozen=True)
class Layout:
    """What is computed of texts of similar lengths.

    texts: which they are, `[n]`.
    kept: the places `[N]` of the tokens that something read depends on; ascending, an appended class token the last.
    cut: how many of these are tokens of the texts themselves.
    read: which of the kept tokens pooling reads, `[n]`.
    shared: how many of the first are computed once for all texts; 0 for none.
    """

    texts: Tensor
    kept: Tensor
    cut: int
    read: Tensor
    shared: int

    @property
    def own(self) -> int:
        """Tokens per text that are not shared."""
        return len(self.kept) - self.shared


@dataclass(frozen=True)
class Portion:
    """Texts that are computed at a time: `rows` `[n]` of a layout's texts, each with the context `contexts` `[n]`."""

    layout: Layout
    rows: Tensor
    contexts: Tensor

    @property
    def texts(self) -> Tensor:
        """Which texts they are, `[n]`."""
        return self.layout.texts[self.rows]

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return len(self.rows) * self.layout.own


def layouts(site: TextSite, texts: ClassTexts, shares: bool) -> list[Layout]:
    """All texts, in groups of similar lengths, so that little is computed of padding.

    shares: whether a common start may be computed once.
    """
    ids, read, cuts = texts.ids, site.reads(texts.ids), site.cuts(texts.ids)
    shared = texts.shared if shares else 0
    found = []
    for group in _similar(cuts, shared):
        cut, own = int(cuts[group].max()), read[group]
        kept = torch.arange(cut, device=ids.device)
        if site.cls is not None:
            kept, own = torch.cat([kept, kept.new_tensor([ids.shape[1]])]), torch.full_like(own, cut)
        found.append(Layout(group, kept, cut, own, shared))
    return found


def _similar(cuts: Tensor, shared: int) -> Iterator[Tensor]:
    """Groups of texts by what they have beyond the `shared` tokens, each at least `FULL` of its longest."""
    order = cuts.argsort(descending=True, stable=True)
    lengths = (cuts[order] - shared).tolist()
    start = 0
    for place, length in enumerate(lengths):
        if length < FULL * lengths[start]:
            yield order[start:place]
            start = place
    yield order[start:]


def portions(plan: Sequence[Layout], contexts: int, tokens: int) -> list[Portion]:
    """Every text with every one of K `contexts`, at most `tokens` tokens at a time where a text is not longer."""
    found = []
    for layout in plan:
        count = len(layout.texts)
        every = torch.arange(contexts * count, device=layout.texts.device)
        chunks = every.split(max(1, tokens // layout.own))
        found += [Portion(layout, chunk % count, chunk // count) for chunk in chunks]
    return found


def kept_for_backward(found: Sequence[Portion], tokens: int) -> int:
    """How many of the last portions, computed last and so read first by the backward pass, need not be computed again:
    those that hold at most `tokens` tokens together.
    """
    held = 0
    for count, portion in enumerate(reversed(found)):
        held += portion.tokens
        if held > tokens:
            return count
    return len(found)
