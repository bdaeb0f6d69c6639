"""The plain path of learned texts: open_clip encodes them by itself, and a hook on its token embedding puts the context
where the texts have room for it. This is the definition.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_text_site import TextSite
from vpt.sites.recompute import recomputing


class Insert:
    """Forward hook of a token embedding: puts `context` into the tokens of `texts`; without these it does nothing.

    deeper: what takes the context's places before each of the next blocks, `[J - 1, M, D]` (see `Replace`).
    """

    def __init__(self) -> None:
        self.texts: ClassTexts | None = None
        self.context: Tensor | None = None
        self.deeper: Tensor | None = None

    def __call__(self, embedding: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.texts is None or self.context is None:
            return output
        return put(output, self.texts.slots, self.context)


class Replace:
    """Pre-hook of text block `layer`, from the second on: puts that block's own tokens in the context's places."""

    def __init__(self, insert: Insert, layer: int) -> None:
        self.insert, self.layer = insert, layer

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        texts, deeper = self.insert.texts, self.insert.deeper
        if texts is None or deeper is None:
            return args, kwargs
        return (put(args[0], texts.slots, deeper[self.layer - 1]), *args[1:]), kwargs


def put(tokens: Tensor, slots: Tensor, context: Tensor) -> Tensor:
    """Tokens `[n, L, D]` with `context` `[M, D]` or `[n or 1, M, D]` at the places `slots` `[n, M]`."""
    if not slots.shape[1]:
        return tokens
    rows = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    return tokens.index_put((rows, slots), context.to(tokens.dtype).expand(len(tokens), -1, -1))


def encode(site: TextSite, insert: Insert, texts: ClassTexts, contexts: Tensor, deeper: Tensor | None = None) -> Tensor:
    """Features `[K, T, F]`, not normalised, of T texts with K contexts `[K, 1 or T, M, D]`, by `insert` on the site.

    A block with tokens of its own is not computed again in the backward pass, where `insert` would have none for it.
    """
    found = []
    insert.texts, insert.deeper = texts, deeper
    try:
        with nullcontext() if deeper is None else recomputing(site.tower, on=False):
            for insert.context in contexts:
                found.append(site.model.encode_text(texts.ids, normalize=False))
    finally:
        insert.texts = insert.context = insert.deeper = None
    return torch.stack(found)
