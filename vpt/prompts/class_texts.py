"""Class names as token sequences, with room for a learned context, or in fixed sentences.

Every text is [start] [context, name, "."] [end] [padding], its name at the end of the context, in the middle of it, or
in front (CoOp, arXiv:2109.01134). Underscores in names are blanks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vpt.errors import OptionError, unknown
from vpt.prompts.tokens import check_positive
from vpt.prompts.words import Words

Position = Literal["end", "middle", "front"]


class ClassTexts(nn.Module):
    """T texts of L tokens: `ids` `[T, L]`, and the places `slots` `[T, M]` where context tokens enter them.

    shared: how many of the first tokens, start and context, every text has at the same places; 0 where names stand
        before or within the context.
    """

    ids: Tensor
    slots: Tensor

    def __init__(self, ids: Tensor, slots: Tensor, shared: int) -> None:
        super().__init__()
        self.shared = shared
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("slots", slots, persistent=False)

    def __len__(self) -> int:
        return len(self.ids)


def with_context(
    words: Words, names: Sequence[str], length: int, context: int, position: Position = "end",
    after: Sequence[int] = (),
) -> ClassTexts:  # fmt: skip
    """The texts of C class names with `context` tokens M to be learned, each of `length` tokens L.

    after: ids of fixed tokens between the context and a name that stands at its end.

    Raises one `OptionError` with all that is wrong: M, and names that are too long, doubled, empty or not in the
    vocabulary.
    """
    if position not in get_args(Position):
        raise unknown("position", position, get_args(Position))
    check_positive("context_length", context)
    if after and position != "end":
        raise OptionError(f"position is {position!r}; accepted: 'end', since fixed words follow the context")
    around = len(words.start) + len(words.end) + len(after)
    if context > (most := length - around - 1):
        raise OptionError(
            f"context_length is {context}; accepted: 1 to {most}, since this model's texts have {length} tokens, "
            f"{around} of them special or fixed, and a name needs one at least"
        )
    check_names(words, names)
    inside = position == "end" or (position == "middle" and context > 1)
    sentences, own = words([f"{_clean(n)}." for n in names], inside), words([_clean(n) for n in names], inside)
    room = length - around - context
    long = [
        f"{name!r} has {len(ids)} tokens with its full stop, {room} fit beside a context of {context + len(after)}"
        for name, ids in zip(names, sentences, strict=True)
        if len(ids) > room
    ]
    if long:
        raise OptionError(f"{len(long)} of {len(names)} classnames are too long: {'; '.join(long)}")
    filled = [
        _place([*after, *ids], len(after) + len(name), words.filler, context, position)
        for ids, name in zip(sentences, own, strict=True)
    ]
    ids = torch.tensor([words.row(tokens, length) for tokens, _ in filled])
    slots = torch.tensor([slots for _, slots in filled]) + len(words.start)
    return ClassTexts(ids, slots, len(words.start) + context + len(after) if position == "end" else 0)


def with_templates(words: Words, names: Sequence[str], templates: Sequence[str], length: int) -> ClassTexts:
    """The texts of C class names in S templates such as "a photo of a {}.", row c * S + s: nothing is learned in them.

    Raises one `OptionError` for all templates without a {}, another with all that is wrong with the names.
    """
    if wrong := [repr(t) for t in templates if not isinstance(t, str) or t.count("{}") != 1]:
        raise OptionError(f"templates {', '.join(wrong)}; accepted: texts with one {{}} for the name")
    check_names(words, names)
    texts = [template.replace("{}", _clean(name)) for name in names for template in templates]
    tokens, room = words(texts), length - len(words.start) - len(words.end)
    long = [f"{t!r} has {len(ids)} tokens, {room} fit" for t, ids in zip(texts, tokens, strict=True) if len(ids) > room]
    if long:
        raise OptionError(f"{len(long)} of {len(texts)} texts are too long: {'; '.join(long)}")
    ids = torch.tensor([words.row(row, length) for row in tokens])
    return ClassTexts(ids, torch.empty(len(ids), 0, dtype=torch.long), len(words.start))


def check_names(words: Words, names: Sequence[str]) -> None:
    """Raise one `OptionError` that lists every class name that is empty, doubled, or foreign to the tokenizer."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise OptionError(f"classnames is {names!r}; accepted: a list of one or more names")
    if faults := list(_faults(words, names)):
        raise OptionError("classnames: " + "; ".join(faults))


def _faults(words: Words, names: Sequence[str]) -> Iterator[str]:
    texts = {place: name for place, name in enumerate(names) if isinstance(name, str)}
    lost = set(words.lost("".join(texts.values())))
    tokens = dict(zip(texts, map(tuple, words([_clean(name) for name in texts.values()])), strict=True))
    places: dict[tuple[int, ...], int] = {}
    for place, name in enumerate(names):
        if place not in texts:
            yield f"name {place} is {name!r}, not a text"
        elif not _clean(name):
            yield f"name {place} is empty"
        elif foreign := sorted(lost & set(name)):
            yield f"{name!r} (name {place}) has {', '.join(map(repr, foreign))}, which the tokenizer does not know"
        elif not tokens[place]:
            yield f"of {name!r} (name {place}) the tokenizer leaves nothing"
        elif words.unknown in tokens[place]:
            yield f"{name!r} (name {place}) has a word that the tokenizer does not know"
        elif words.special(tokens[place]):
            yield f"{name!r} (name {place}) holds the tokenizer's own start or end"
        elif (first := places.setdefault(tokens[place], place)) != place:
            also = "" if names[first] == name else f" reads like {names[first]!r} and"
            yield f"{name!r}{also} stands twice (names {first} and {place})"


def _clean(name: str) -> str:
    return name.replace("_", " ").strip()


def _place(ids: Sequence[int], name: int, filler: int, context: int, position: Position) -> tuple[list[int], list[int]]:
    """Tokens with a context at its place beside the first `name` of them, and the places of the context's tokens."""
    before = {"end": context, "middle": context // 2, "front": 0}[position]
    tokens = [filler] * before + list(ids[:name]) + [filler] * (context - before) + list(ids[name:])
    after = before + len(ids[:name])
    return tokens, [*range(before), *range(after, after + context - before)]
