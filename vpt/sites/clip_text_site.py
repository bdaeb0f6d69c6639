"""The place in a CLIP where learned text tokens enter: what its text tower is asked for, in open_clip's own towers.

Letters: C texts, L tokens per text, D width, F width of the features that texts and images share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vpt.errors import OptionError, UnsupportedBackbone
from vpt.prompts.words import Words

Pooling = Literal["argmax", "eos", "last", "first", "cls", "mean", "pooler"]
CLIP_VOCABULARY = 49408  # of open_clip's own tokenizer
SUPPORTED = (
    "open_clip's CLIP, and CustomTextCLIP and CoCa with a TextTransformer or an HFTextEncoder, where their forwards "
    "are stock"
)


@dataclass(frozen=True)
class TextSite:
    """The place in a frozen CLIP where learned text tokens can enter.

    tower: the module that holds the text tower's parts: the model itself, or its `.text`.
    pooling: the token that is read: the one of highest id, the one of `eos_id`, the last, the first, or an appended
        class token ("cls"). Hugging Face's: the first, the first through a layer ("pooler"), or the mean of all.
    causal: whether each token sees itself and those before it, and none after.
    pad_id: the id of padding, where the tower hides padding from attention; else None.
    """

    model: Any
    tower: Any
    pooling: Pooling
    causal: bool
    eos_id: int | None
    pad_id: int | None

    @property
    def context_length(self) -> int:
        """Tokens L of every text, padding included, an appended class token not."""
        return int(self.tower.context_length)

    @property
    def token_embedding(self) -> Any:
        """The module from ids `[..., L]` to tokens `[..., L, D]`, on which a context enters."""
        return self.tower.token_embedding

    @property
    def vocabulary(self) -> int:
        """How many ids the tower knows."""
        return int(self.token_embedding.num_embeddings)

    @property
    def width(self) -> int:
        """Width D of a token."""
        return int(self.token_embedding.embedding_dim)

    @property
    def features(self) -> int:
        """Width F of a text feature."""
        projection = self.tower.text_projection
        if projection is None:
            return self.width
        return int(projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1])

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return list(self.tower.transformer.resblocks)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def heads(self) -> int:
        """Heads of each block's attention."""
        return int(self._first.attn.num_heads)

    @property
    def _first(self) -> Any:
        return self.blocks[0]  # open_clip ships no types

    @property
    def ends(self) -> bool:
        """Whether nothing that follows a text matters: no token sees a later one, or none sees padding."""
        return self.causal or self.pad_id is not None

    @property
    def cls(self) -> Tensor | None:
        """The class token `[D]` that the tower appends to every text, or None."""
        found: Tensor | None = getattr(self.tower, "cls_emb", None)
        return found

    @property
    def dtype(self) -> torch.dtype:
        """What the tower computes in."""
        found: torch.dtype = self.tower.transformer.get_cast_dtype()
        return found

    @property
    def device(self) -> torch.device:
        """Where the tower is."""
        found: torch.device = self.token_embedding.weight.device
        return found

    def embed(self, ids: Tensor) -> Tensor:
        """Tokens `[..., D]` of ids, without positions."""
        tokens: Tensor = self.token_embedding(ids)
        return tokens.to(self.dtype)

    def positions(self) -> Tensor:
        """What is added to each token, `[L, D]`, or `[L + 1, D]` with an appended class token."""
        found: Tensor = self.tower.positional_embedding
        return found.to(self.dtype)

    def mask(self, ids: Tensor) -> Tensor | None:
        """What is added to the attention scores of texts `[C, L]`: None, `[N, N]` for all alike, or `[C, N, N]`.

        N is L, or L + 1 with an appended class token.
        """
        own: Tensor | None = self.tower.attn_mask
        if self.pad_id is None:
            return own
        seen = ids != self.pad_id
        if self.cls is not None:
            # open_clip's first CoCa models put the class token's own column in front, and their weights know it so
            column = seen.new_ones(len(seen), 1)
            correct = getattr(self.tower, "correct_cls_mask", False)
            seen = torch.cat([seen, column] if correct else [column, seen], 1)
        hidden = torch.zeros(seen.shape, dtype=self.dtype, device=ids.device).masked_fill(~seen, float("-inf"))
        rows = hidden.unsqueeze(1).expand(-1, seen.shape[1], -1)
        return rows if own is None else own + rows

    def reads(self, ids: Tensor) -> Tensor:
        """The place of the token that pooling reads in each text: `[C, L]` to `[C]`.

        Raises `OptionError` where pooling looks for an end token that some text lacks.
        """
        if self.pooling == "argmax":
            return ids.argmax(-1)
        if self.pooling == "eos":
            found = ids.eq(self.eos_id if self.eos_id is not None else -1)
            if not found.any(-1).all():
                raise OptionError(
                    f"this text tower reads the token of id {self.eos_id}, which this tokenizer does not put in; "
                    "give the model's own: tokenizer=open_clip.get_tokenizer(...)"
                )
            return found.int().argmax(-1)
        place = {"first": 0, "last": ids.shape[1] - 1, "cls": ids.shape[1]}[self.pooling]
        return torch.full(ids.shape[:1], place, device=ids.device)

    def cuts(self, ids: Tensor) -> Tensor:
        """How many of the first tokens of each text `[C, L]` are all that what pooling reads depends on: `[C]`."""
        length, mask = ids.shape[1], self.mask(ids) if self.ends else None
        if mask is None:
            return torch.full((len(ids),), length, device=ids.device)
        read = self.reads(ids)
        rows = mask[read] if mask.dim() == 2 else mask[torch.arange(len(ids), device=ids.device), read]
        last = ((rows[:, :length] == 0).long() * torch.arange(length, device=ids.device)).amax(1)
        return 1 + (last if self.cls is not None else torch.maximum(last, read))

    def leave(self, tokens: Tensor) -> Tensor:
        """Features `[n, F]` of the tokens `[n, D]` that pooling read, not normalised."""
        tokens = self.tower.ln_final(tokens)
        projection = self.tower.text_projection
        if projection is None:
            return tokens
        out: Tensor = projection(tokens) if isinstance(projection, nn.Linear) else tokens @ projection
        return out

    def tokenizer(self) -> Callable[..., Tensor]:
        """open_clip's own tokenizer, where its vocabulary is the tower's. Raises `OptionError` where it is not."""
        from open_clip import tokenize

        if self.vocabulary != CLIP_VOCABULARY:
            raise OptionError(
                f"this text tower knows {self.vocabulary} tokens, CLIP's tokenizer {CLIP_VOCABULARY}; give its own: "
                "tokenizer=open_clip.get_tokenizer(...)"
            )
        return tokenize  # type: ignore[no-any-return]

    def check(self, words: Words) -> None:
        """Raise `OptionError` for another model's tokenizer, where its ids show it."""
        own = "give the model's: tokenizer=open_clip.get_tokenizer(...)"
        if (highest := max(*words.start, *words.end, words.pad, words.filler)) >= self.vocabulary:
            raise OptionError(f"this text tower knows {self.vocabulary} tokens, the tokenizer an id {highest}; {own}")
        if self.pad_id not in (None, words.pad):
            raise OptionError(f"this text tower hides id {self.pad_id}, the tokenizer fills up with {words.pad}; {own}")


def unsupported(model: nn.Module, fault: str) -> UnsupportedBackbone:
    """The error that learned texts do not fit `model`, and why."""
    given = f"{type(model).__module__}.{type(model).__qualname__}"
    return UnsupportedBackbone(f"learned texts do not fit this {given}: {fault}. Supported: {SUPPORTED}.")
