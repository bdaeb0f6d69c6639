"""Hugging Face's encoders as the text towers of open_clip's models: BERT, RoBERTa, XLM-R, and the encoders of mT5 and
M2M-100 (NLLB).

A context enters on the encoder's own embedding of ids, and its own forward computes the rest. Such an encoder is not
taken apart: it adds its positions by itself and runs as a whole. It hides padding, so texts may be cut at their ends.
Letters: C texts, L tokens per text, D width, F width of the features that texts and images share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vpt.errors import OptionError
from vpt.sites.clip_text_site import Pooling, TextSite, unsupported

LENGTH = 77
"""Tokens of a text, where the encoder has as many positions: what open_clip's tokenizers answer for it."""

EMBEDDED = ("bert", "roberta", "xlm-roberta", "mt5", "m2m_100")
"""Encoders that number the tokens of a text alike whether they are given ids or what these are embedded as."""


@dataclass(frozen=True)
class HFTextSite(TextSite):
    """The place in a CLIP whose text tower is an `HFTextEncoder`, with Hugging Face's transformer inside.

    pad_id: the id of padding, which such a tower always hides.
    """

    pad_id: int

    @property
    def context_length(self) -> int:
        """Tokens L of every text, padding included: 77, or as many as the encoder has positions."""
        known = getattr(self.tower.config, "max_position_embeddings", None)
        table = next((m for name, m in self._encoder.named_modules() if name.endswith("position_embeddings")), None)
        if table is not None:  # RoBERTa's numbers start after its padding's
            known = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        return min(int(known or LENGTH), LENGTH)

    @property
    def token_embedding(self) -> Any:
        """The module from ids `[..., L]` to tokens `[..., L, D]`, on which a context enters."""
        return self._encoder.get_input_embeddings()

    @property
    def features(self) -> int:
        """Width F of a text feature."""
        return int(self.tower.output_dim)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return list(next(m for m in self._encoder.modules() if isinstance(m, nn.ModuleList)))

    @property
    def heads(self) -> int:
        """Heads of each block's attention."""
        return int(self._encoder.config.num_attention_heads)

    @property
    def dtype(self) -> torch.dtype:
        """What the tower computes in."""
        found: torch.dtype = self.token_embedding.weight.dtype
        return found

    @property
    def kind(self) -> str:
        """Hugging Face's name of the architecture, such as "xlm-roberta"."""
        return str(self.tower.config.model_type)

    @property
    def _encoder(self) -> Any:
        return self.tower.transformer

    def reads(self, ids: Tensor) -> Tensor:
        """The place of the last token that pooling reads in each text: `[C, L]` to `[C]`."""
        if self.pooling == "mean":
            return ids.ne(self.pad_id).cumsum(-1).argmax(-1)
        return torch.zeros_like(ids[:, 0])

    def cuts(self, ids: Tensor) -> Tensor:
        """How many of the first tokens of each text `[C, L]` are not padding: `[C]`."""
        return 1 + (ids.ne(self.pad_id).long() * torch.arange(ids.shape[1], device=ids.device)).amax(1)

    def encode(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """Features `[C, F]`, not normalised, of texts `[C, L]` whose ids stand embedded in `tokens` `[C, L, D]`."""
        seen = ids.ne(self.pad_id).long()
        encoded = self._encoder(inputs_embeds=tokens, attention_mask=seen)
        out: Tensor = self.tower.proj(self.tower.pooler(encoded, seen))
        return out

    def tokenizer(self) -> Any:
        """Raises `OptionError`: which tokenizer an encoder was trained with is known to its maker alone."""
        raise OptionError(
            f"this text tower is Hugging Face's {self.kind}, whose tokenizer the model does not hold; give it: "
            "tokenizer=open_clip.get_tokenizer(...)"
        )


def hf_text_site(model: nn.Module, tower: Any) -> HFTextSite:
    """The text site of an open_clip model with the `HFTextEncoder` `tower`.

    Raises `UnsupportedBackbone` for pooling that is not known, no padding, and what a context would not reach.
    """
    pooling, causal = _pooling(tower), bool(getattr(tower.transformer.config, "is_decoder", False))
    if pooling is None:
        pooler = type(tower.pooler).__name__
        raise unsupported(model, f"its text tower pools by a {pooler}, not by the mean or the first token")
    if tower.config.pad_token_id is None:
        raise unsupported(model, "the configuration of its text tower names no padding, which such a tower hides")
    if causal and pooling != "mean":
        raise unsupported(model, "its text tower reads the first token, which no later one reaches under its mask")
    return HFTextSite(model, tower, pooling, causal, None, int(tower.config.pad_token_id))


def _pooling(tower: Any) -> Pooling | None:
    from open_clip.hf_model import ClsLastHiddenStatePooler, ClsPooler, MeanPooler

    if type(tower.pooler) is MeanPooler:
        return "mean"
    if type(tower.pooler) is ClsPooler and tower.pooler.use_pooler_output:
        return "first" if getattr(tower.transformer, "pooler", None) is None else "pooler"
    return "first" if type(tower.pooler) in (ClsPooler, ClsLastHiddenStatePooler) else None
