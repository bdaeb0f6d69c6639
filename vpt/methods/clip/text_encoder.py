"""Texts of classes and the path that encodes them, for one set of class names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpt.attach import text_fused, text_plain
from vpt.attach.text_layout import Layout, layouts
from vpt.errors import OptionError
from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_text_site import TextSite


class TextEncoder(nn.Module):
    """From contexts to features of fixed texts; moves with the model it is part of.

    insert: the hook on the token embedding that the plain path goes through.
    path: "plain" or "fused"; `shares` says whether what texts have in common in front is computed once.
    Raises `OptionError` where pooling would read nothing of a context, as with another model's tokenizer.
    """

    def __init__(self, site: TextSite, texts: ClassTexts, insert: text_plain.Insert, path: str, shares: bool) -> None:
        super().__init__()
        _check_read(site, texts)
        self.texts, self._site, self._insert = texts, (site,), insert  # in a tuple: its modules are the backbone's
        self._path, self._shares = path, shares
        self._plan: list[Layout] = []

    def forward(self, contexts: Tensor, deeper: Tensor | None = None) -> Tensor:
        """Features `[K, T, F]`, not normalised, of T texts with K contexts `[K, 1 or T, M, D]`.

        deeper: what takes the contexts' places before each of the next blocks, `[J - 1, M, D]`.
        """
        (site,) = self._site
        if self._path == "plain":
            return text_plain.encode(site, self._insert, self.texts, contexts, deeper)
        if not self._plan or self._plan[0].kept.device != self.texts.ids.device:
            with torch.inference_mode(False):  # training may use the plan that a pass of inference made
                self._plan = layouts(site, self.texts, self._shares)
        return text_fused.encode(site, self.texts, contexts, self._plan, deeper)

    @property
    def needs_hooks(self) -> bool:
        """Whether the text tower must have `insert` on it."""
        return self._path == "plain"

    @property
    def shared(self) -> tuple[object, ...]:
        """What belongs to the model whose texts these are."""
        return (*self._site, self._insert)

    def fixed(self) -> Tensor:
        """Features `[T, F]`, not normalised, of texts without a context."""
        (site,) = self._site
        nothing = torch.empty(1, 1, 0, site.width, dtype=site.dtype, device=site.device)
        return self(nothing).squeeze(0)  # type: ignore[no-any-return]


def _check_read(site: TextSite, texts: ClassTexts) -> None:
    read = site.reads(texts.ids)
    if site.causal and texts.slots.shape[1] and (read < texts.slots.amax(1)).any():
        raise OptionError(
            "this text tower reads a token that stands before the context's end, so that texts are not its own "
            "tokenizer's; give the model's: tokenizer=open_clip.get_tokenizer(...)"
        )
