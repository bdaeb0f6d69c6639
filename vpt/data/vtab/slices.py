"""Which examples of a TFDS split a set of VTAB-1K takes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Slice:
    """`split[start : start + count]`, or `split[start:]` where `count` is None.

    A `start` that is a fraction f means floor(f · N), with N the true size of the split.
    """

    split: str
    start: int | Fraction = 0
    count: int | None = None

    def __str__(self) -> str:
        """E.g. `train[floor(9/10 N):+200]`."""
        start = f"floor({self.start} N)" if isinstance(self.start, Fraction) else f"{self.start or ''}"
        stop = "" if self.count is None else f"+{self.count}" if start else f"{self.count}"
        return f"{self.split}[{start}:{stop}]" if start or stop else self.split

    def positions(self, size: int) -> range:
        """The positions taken of a split with `size` examples; fewer than `count` where it ends too early."""
        start = self.start * size // 1  # floor, in exact arithmetic
        first = int(start) if isinstance(self.start, Fraction) else self.start
        stop = size if self.count is None else min(first + self.count, size)
        return range(first, max(first, stop))
