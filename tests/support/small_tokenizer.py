"""A tokenizer with a small vocabulary, called as open_clip's are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
PAD, START, UNKNOWN, END = 0, 1, 2, 99
SYLLABLES = [c + v for c in "bcdfghklmnprstvz" for v in "aeio"]


class SmallTokenizer:
    """Pairs of letters, single letters and a full stop, in a vocabulary of 100; END is its highest id.

    start: whether texts begin with START. drops: characters that leave no token.
    """

    unk_token_id = UNKNOWN

    def __init__(self, start: bool = True, end: int = END, pad: int = PAD, drops: str = "") -> None:
        self.start, self.end, self.pad, self.drops = start, end, pad, drops
        self.ids = {token: 3 + i for i, token in enumerate([".", *LETTERS, *SYLLABLES[:56]])}
        assert max(self.ids.values()) < END

    def encode(self, text: str) -> list[int]:
        ids, i = [], 0
        text = "".join(c for c in text.lower() if c not in self.drops)
        while i < len(text):
            pair = text[i : i + 2] if text[i : i + 2] in self.ids else text[i]
            if not pair.isspace():
                ids.append(self.ids.get(pair, UNKNOWN))
            i += len(pair)
        return ids

    def __call__(self, texts: Sequence[str] | str, context_length: int = 20) -> Tensor:
        rows = []
        for text in [texts] if isinstance(texts, str) else texts:
            row = [START] * self.start + self.encode(text)
            row = [*row[: context_length - 1], self.end]
            rows.append(row + [self.pad] * (context_length - len(row)))
        return torch.tensor(rows)
