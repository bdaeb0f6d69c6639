"""What is computed from accuracies: mean and spread over seeds, and differences between pairs of runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of `n` values; `std` is None for a single one."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of `n` paired differences and its 95% t interval; `low` and `high` are None for a single pair."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


def spread(values: Sequence[float]) -> Spread | None:
    """None for no values."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Ours minus theirs, over the seeds that both have; None without any."""
    from scipy.special import stdtrit

    found = spread([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])
    if found is None:
        return None
    if found.std is None:
        return Difference(found.mean, None, None, found.n)
    reach = float(stdtrit(found.n - 1, (1 + CONFIDENCE) / 2)) * found.std / math.sqrt(found.n)
    return Difference(found.mean, found.mean - reach, found.mean + reach, found.n)


def mean_of_means(groups: Sequence[Sequence[float]]) -> float:
    """The average of the groups' averages."""
    return statistics.fmean(statistics.fmean(group) for group in groups)
