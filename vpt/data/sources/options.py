"""What the options of a source may be: rules that stand in the signature of its function, checked before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints


@dataclass(frozen=True)
class Rule:
    """Whether a value is accepted, and the same in words."""

    accepts: Callable[[Any], bool]
    wanted: str


def _whole(least: int) -> Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least

    return Rule(accepts, f"a whole number from {least}")


def _texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)


Count = Annotated[int, _whole(1)]
Seed = Annotated[int, _whole(0)]
Fraction = Annotated[float, Rule(lambda v: isinstance(v, Real) and 0 < v < 1, "a number between 0 and 1")]
Flag = Annotated[bool, Rule(lambda v: isinstance(v, bool), "true or false")]
Names = Annotated[Sequence[str], Rule(_texts, "a list of names, each a text")]
Folder = Annotated[str | Path, Rule(lambda v: isinstance(v, str | Path), "a folder")]
Patterns = Annotated[
    str | Sequence[str], Rule(lambda v: isinstance(v, str) or _texts(v), "a pattern such as '*.txt', or a list of them")
]


ClassNames = Annotated[
    Sequence[str] | Mapping[str, str] | str | Path,
    Rule(
        lambda v: _texts(v) or isinstance(v, Mapping | str | Path),
        "a list of names, old names and their new ones, or a .json or .txt file",
    ),
]
HalfName = Annotated[str, Rule(lambda v: v in ("base", "new"), "'base' or 'new'")]
ValCount = Annotated[int | str, Rule(lambda v: v == "auto" or _whole(1).accepts(v), "a whole number from 1, or 'auto'")]


def misfits(function: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[str]:
    """One line per value in `given` that breaks the rule in the annotation of `function`'s argument of that name."""
    hints = get_type_hints(function, include_extras=True)
    for name, value in given.items():
        if name not in hints:
            continue
        alternatives = (hints[name], *get_args(hints[name]))  # `Count | None` has its rule one level down
        optional = NoneType in alternatives
        rules = [m for hint in alternatives for m in getattr(hint, "__metadata__", ()) if isinstance(m, Rule)]
        if rules and not (optional and value is None) and not any(rule.accepts(value) for rule in rules):
            wanted = " or ".join(rule.wanted for rule in rules)
            yield f"{name}={value!r} given; accepted: {wanted}{', or none' if optional else ''}"
