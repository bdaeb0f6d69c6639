"""How two versions differ: what was asked for, what was measured, and how far the learned tensors lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from vpt.artifacts.library.library import Library
from vpt.artifacts.load import read_tensors
from vpt.artifacts.schema import read

ASIDE = frozenset({"tensors", "provenance.finished"})
"""Fields that differ between any two trainings."""


@dataclass(frozen=True)
class Difference:
    """One thing that two versions do not share; None where one lacks it.

    distance: of tensors of one shape, the L2 norm of their difference over the larger of theirs; None elsewhere.
    """

    name: str
    a: Any
    b: Any
    distance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able."""
        return asdict(self)


def compare(library: Library, task: str, a: int, b: int) -> list[Difference]:
    """What differs between versions `a` and `b` of a task. Raises as `Library.open` and `vpt.artifacts.read` do."""
    folders = [library.open(task, number) for number in (a, b)]
    manifests = [read(folder) for folder in folders]
    tensors = [read_tensors(folder, manifest) for folder, manifest in zip(folders, manifests, strict=True)]
    first, second = (asdict(manifest) for manifest in manifests)
    return [*_leaves(first, second), *_tensors(*tensors)]


def _leaves(a: Mapping[str, Any], b: Mapping[str, Any], at: str = "") -> Iterator[Difference]:
    for key in sorted({*a, *b}):
        name, x, y = f"{at}{key}", a.get(key), b.get(key)
        if name in ASIDE or x == y:
            continue
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            yield from _leaves(x, y, f"{name}.")
        else:
            yield Difference(name, x, y)


def _tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Iterator[Difference]:
    """A line for each tensor that is in one alone, has two shapes, or has moved."""
    for name in sorted({*a, *b}):
        x, y = a.get(name), b.get(name)
        a_shape, b_shape = (None if tensor is None else list(tensor.shape) for tensor in (x, y))
        if x is None or y is None or x.shape != y.shape:
            yield Difference(f"tensors.{name}", a_shape, b_shape)
        elif distance := _apart(x, y):
            yield Difference(f"tensors.{name}", a_shape, b_shape, distance)


def _apart(x: Tensor, y: Tensor) -> float:
    """L2 distance in units of the larger of the two norms; 0 for equal tensors."""
    moved = float((y.double() - x.double()).norm())
    return moved and moved / max(float(x.double().norm()), float(y.double().norm()))
