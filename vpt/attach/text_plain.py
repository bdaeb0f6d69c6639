"""The plain path of learned texts: open_clip encodes them by itself, and a hook on its token embedding puts the context
where the texts have room for it. This is the definition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_text import TextSite


class Insert:
    """Forward hook of a token embedding: puts `context` into the tokens of `texts`; without these it does nothing."""

    def __init__(self) -> None:
        self.texts: ClassTexts | None = None
        self.context: Tensor | None = None

    def __call__(self, embedding: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.texts is None or self.context is None:
            return output
        return put(output, self.texts.slots, self.context)


def put(tokens: Tensor, slots: Tensor, context: Tensor) -> Tensor:
    """Tokens `[n, L, D]` with `context` `[n or 1, M, D]` at the places `slots` `[n, M]`."""
    if not slots.shape[1]:
        return tokens
    rows = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    return tokens.index_put((rows, slots), context.to(tokens.dtype).expand(len(tokens), -1, -1))


def encode(site: TextSite, insert: Insert, texts: ClassTexts, contexts: Tensor) -> Tensor:
    """Features `[K, T, F]`, not normalised, of T texts with K contexts `[K, 1 or T, M, D]`, by `insert` on the site."""
    found = []
    insert.texts = texts
    try:
        for insert.context in contexts:
            found.append(site.model.encode_text(texts.ids, normalize=False))
    finally:
        insert.texts = insert.context = None
    return torch.stack(found)
