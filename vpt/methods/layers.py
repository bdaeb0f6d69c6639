"""Which blocks are prompted: `first k`, `last k`, all, or any list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vpt.errors import OptionError

Layers = str | int | Sequence[int]
_ACCEPTED = "'all', 'first', 'first:k', 'last:k', 'none', or block numbers"


def resolve(layers: Layers, depth: int) -> tuple[int, ...]:
    """Ascending block numbers in `[0, depth)`. Raises `OptionError` for anything outside."""
    found = _named(layers, depth) if isinstance(layers, str) else _listed(layers)
    outside = [layer for layer in found if not 0 <= layer < depth]
    if outside or len(set(found)) != len(found):
        fault = f"names {outside}" if outside else "names a block twice"
        raise OptionError(f"layers={layers!r} {fault}; this backbone has blocks 0 to {depth - 1}")
    return tuple(sorted(found))


def _listed(layers: int | Sequence[int]) -> list[int]:
    found = [layers] if not isinstance(layers, Sequence) else list(layers)
    if any(not isinstance(layer, int) or isinstance(layer, bool) for layer in found):
        raise OptionError(f"layers={layers!r}; accepted: {_ACCEPTED}")
    return found


def _named(layers: str, depth: int) -> list[int]:
    everything = list(range(depth))
    if layers in ("all", "none", "first"):
        return {"all": everything, "none": [], "first": everything[:1]}[layers]
    if (match := re.fullmatch(r"(first|last):(\d+)", layers)) is None:
        raise OptionError(f"layers={layers!r}; accepted: {_ACCEPTED}")
    side, k = match[1], int(match[2])
    if k > depth:
        raise OptionError(f"layers={layers!r}; this backbone has {depth} blocks")
    return everything[:k] if side == "first" else everything[depth - k :]
