"""A tokenizer, asked for the tokens of a text alone: without start, end and padding, and with nothing cut off."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from types import FunctionType

import torch
from torch import Tensor

from vpt.errors import OptionError

_ACCEPTED = "accepted: what open_clip.get_tokenizer answers, called as tokenizer(texts, context_length=n) -> ids [C, n]"


class Words:
    """What `tokenizer` makes of words, and what it puts around them.

    tokenizer: answers ids `[C, n]` when called with a list of C texts and `context_length=n`.
    start, end: the ids before and after the tokens of every text. pad: the id that fills up.
    filler: an id that stands for a learned token until it is replaced; neither padding nor an end.
    unknown: the id of what the vocabulary lacks, or None.
    """

    def __init__(self, tokenizer: Callable[..., Tensor]) -> None:
        self._tokenizer = tokenizer
        empty, filler = (_strip(row) for row in self._ask(["", "x"], 16))
        self.pad = int(self._ask([""], 16)[0, -1])
        if _strip(self._ask([""], 24)[0]) != empty:
            raise OptionError("this tokenizer puts tokens after the padding, where learned texts do not find them")
        self.start = _common(empty, filler)
        self.end = empty[len(self.start) :]
        self._after = len(self.end)
        if not self.end and int(self._ask(["x " * 16], 8)[0, -1]) == self.pad:
            self.end = [self.pad]  # an end that looks like padding, as SigLIP's
        inner = getattr(tokenizer, "tokenizer", tokenizer)
        self.unknown: int | None = getattr(inner, "unk_token_id", None)
        if not (own := self._inner(filler)):
            raise OptionError("this tokenizer makes no token of an x, which stands for learned tokens")
        self.filler = own[0]
        self._apart = len(own) if self(["x x"])[0] != own * 2 else 0

    def __call__(self, texts: Sequence[str], inside: bool = False) -> list[list[int]]:
        """The ids of each text. inside: as it reads after other words, which RoBERTa's tokenizer tells apart."""
        if not texts:
            return []
        if inside and self._apart:
            return [ids[self._apart :] for ids in self([f"x {text}" for text in texts])]
        around = len(self.start) + len(self.end) + 8
        longest = max(len(text.encode(errors="replace")) for text in texts)  # few make more tokens than bytes
        rows = self._ask(list(texts), longest + around)
        if (rows[:, -2:] != self.pad).any():  # Unicode's normal forms make up to 11 bytes of one
            rows = self._ask(list(texts), 16 * longest + around)
        return [self._inner(_strip(row)) for row in rows]

    def row(self, tokens: Sequence[int], length: int) -> list[int]:
        """`tokens` between start and end, filled up to `length`."""
        text = [*self.start, *tokens, *self.end]
        return text + [self.pad] * (length - len(text))

    def read(self, token: int) -> str | None:
        """What a token says, with … behind it where it only begins a word; None where the tokenizer does not tell.

        Beginnings are told by tokenizers that put a blank behind whole words, as CLIP's does.
        """
        if not (said := self._decode(token)) or not said.strip():
            return None
        ends_words = (self._decode(self.filler) or "").endswith(" ")
        begins = ends_words and not said.endswith(" ") and not self.special([token])
        return said.strip() + "…" * begins

    def _decode(self, token: int) -> str | None:
        decode = _decoder(self._tokenizer)
        if decode is None:
            return None
        try:
            return str(decode([token]))
        except (LookupError, OverflowError, TypeError, ValueError):  # a row of the tower that no token has
            return None

    def lost(self, text: str) -> list[str]:
        """The characters of `text` that leave no token, or that of the unknown.

        Blanks and ASCII punctuation may go: some models' tokenizers drop them on purpose.
        """
        letters = sorted({c for c in text if not c.isspace() and c not in string.punctuation})
        found = zip(letters, self(letters), strict=True)
        return [c for c, ids in found if not ids or (self.unknown is not None and self.unknown in ids)]

    def special(self, ids: Sequence[int]) -> bool:
        """Whether start or end stand inside a text, which pooling would take for the text's own."""
        return bool({*self.start, *self.end} & {*ids})

    def _inner(self, row: list[int]) -> list[int]:
        return row[len(self.start) : len(row) - self._after]

    def _ask(self, texts: list[str], length: int) -> Tensor:
        try:
            rows = torch.as_tensor(self._tokenizer(texts, context_length=length))
        except TypeError as error:
            raise OptionError(f"the tokenizer {self._tokenizer!r} fails ({error}); {_ACCEPTED}") from error
        if tuple(rows.shape) != (len(texts), length):
            raise OptionError(
                f"the tokenizer answered ids {list(rows.shape)} for {len(texts)} texts of {length} tokens; {_ACCEPTED}"
            )
        return rows


def _decoder(tokenizer: Callable[..., Tensor]) -> Callable[[list[int]], str] | None:
    """What turns ids back into text, where there is something; that of `open_clip.tokenize` stands beside it."""
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    if isinstance(inner, FunctionType) and inner.__module__ == "open_clip.tokenizer":
        from open_clip import decode

        return lambda ids: decode(torch.tensor(ids))  # type: ignore[no-any-return]
    found: Callable[[list[int]], str] | None = getattr(inner, "decode", None)
    return found


def _strip(row: Tensor) -> list[int]:
    """Ids without the padding at the end, whose id is the last one."""
    ids: list[int] = row.tolist()
    while len(ids) > 1 and ids[-1] == ids[-2]:
        ids.pop()
    return ids[:-1]


def _common(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """What both begin with."""
    end = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return list(a[:end])
