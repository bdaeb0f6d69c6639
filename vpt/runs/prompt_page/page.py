"""The page: words near each learned token, class similarities before and after, and where all this comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vpt.methods.clip import Reading, Similarity
from vpt.runs.prompt_page.heat_map import HeatMap, Values, difference_map, similarity_map

if TYPE_CHECKING:
    from jinja2 import Template

PAIRS = 5
"""Pairs of classes shown that moved together, and as many that moved apart."""

UNMOVED = 5e-5
"""Below this, a change of a cosine is none: four decimals do not show it, and float32 makes some of its own."""


@dataclass(frozen=True)
class Pair:
    """Two classes and their cosine before and after."""

    classes: tuple[str, str]
    before: float
    after: float


@dataclass(frozen=True)
class ClassRow:
    """A class: its number on the maps, how much of its direction it kept, and the class nearest to it then and now."""

    number: int
    name: str
    kept: float
    before: tuple[str, float]
    after: tuple[str, float]


def prompt_page(title: str, reading: Reading, similarity: Similarity, facts: Mapping[str, str]) -> str:
    """HTML that loads nothing and runs no script, of `nearest_words` and `class_similarity`; `facts` say of what."""
    compared = _compared(similarity) if len(similarity.classnames) > 1 else None
    return _template().render(
        title=title, reading=reading, similarity=similarity, compared=compared, facts=facts, **_words(reading)
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.get_template("page.html.j2")


def _words(reading: Reading) -> dict[str, Any]:
    """What the text beside the words tells: tokens as near to a word as words are to each other, and signs in use."""
    texts = {word.text for context in reading.contexts for token in context.tokens for word in token.words}
    return {
        "near": reading.near_a_word,
        "untold": None in texts,
        "begins": any(text and text.endswith("…") for text in texts),
    }


def _compared(similarity: Similarity) -> dict[str, Any]:
    """What is shown where there are classes to compare."""
    return {
        "means": [float(_others(cosines.numpy()).mean()) for cosines in (similarity.before, similarity.after)],
        "maps": list(_maps(similarity)),
        "pairs": list(_pairs(similarity)),
        "classes": _classes(similarity),
    }


def _others(values: Values) -> Values:
    """The entries that compare a class with another."""
    return values[~np.eye(len(values), dtype=bool)]


def _maps(similarity: Similarity) -> Iterator[HeatMap]:
    """Before and after on one scale, that of the pairs of different classes, and what changed, if anything did."""
    before, after, names = similarity.before.numpy(), similarity.after.numpy(), similarity.classnames
    both = np.concatenate([_others(before), _others(after)])
    low, high = float(both.min()), float(both.max())
    yield similarity_map("Before", before, names, low, high)
    yield similarity_map("After", after, names, low, high)
    if np.abs(after - before).max() >= UNMOVED:
        yield difference_map("After − before", after - before, names)


def _classes(similarity: Similarity) -> list[ClassRow]:
    """Every class, the one that moved most in front."""
    before, after = (_nearest_class(v.numpy(), similarity.classnames) for v in (similarity.before, similarity.after))
    rows = zip(range(1, 1 + len(before)), similarity.classnames, similarity.kept.tolist(), before, after, strict=True)
    return sorted((ClassRow(*row) for row in rows), key=lambda row: row.kept)


def _nearest_class(values: Values, names: tuple[str, ...]) -> list[tuple[str, float]]:
    others = np.where(np.eye(len(values), dtype=bool), -np.inf, values)
    return [(names[place], float(others[row, place])) for row, place in enumerate(others.argmax(axis=1))]


def _pairs(similarity: Similarity) -> Iterator[tuple[str, list[Pair]]]:
    """Title and pairs: those whose cosine rose most, and those whose cosine fell most."""
    before, after, names = similarity.before.numpy(), similarity.after.numpy(), similarity.classnames
    rows, columns = np.triu_indices(len(names), k=1)
    change = (after - before)[rows, columns]
    for title, sign in (("Moved together", 1), ("Moved apart", -1)):
        most = (-sign * change).argsort(kind="stable")[:PAIRS]
        chosen = [(rows[i], columns[i]) for i in most if sign * change[i] >= UNMOVED]
        if chosen:
            yield title, [Pair((names[r], names[c]), float(before[r, c]), float(after[r, c])) for r, c in chosen]
