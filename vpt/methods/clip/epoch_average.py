"""The average of what was learned over epochs, Gaussian-weighted (PromptSRC, arXiv:2307.06948)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EpochAverage:
    """Weights epoch e of E by a Gaussian of `mean` and `std`, both shares of E, and keeps the weighted sum so far."""

    def __init__(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std
        self._sums: dict[str, Tensor] = {}

    def weight(self, epoch: int, epochs: int) -> float:
        """The share of `epoch` (from 1) in the average; those of all epochs sum to 1."""
        peaks = [-(((e / epochs - self.mean) / self.std) ** 2) / 2 for e in range(1, epochs + 1)]
        most = max(peaks)
        return math.exp(peaks[epoch - 1] - most) / sum(math.exp(peak - most) for peak in peaks)

    @torch.no_grad()
    def add(self, parameters: Mapping[str, nn.Parameter], epoch: int, epochs: int) -> None:
        """Take in the state at the end of `epoch`; after the last one the parameters become the average."""
        share = self.weight(epoch, epochs)
        for name, parameter in parameters.items():
            before = self._sums.get(name) if epoch > 1 else None
            now = share * parameter.detach()
            self._sums[name] = now if before is None else before.to(now) + now
            if epoch == epochs:
                parameter.copy_(self._sums[name])
        if epoch == epochs:
            self._sums = {}

    def state(self) -> dict[str, Tensor]:
        """The sums so far, by the names of the parameters."""
        return dict(self._sums)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `state()`."""
        self._sums = dict(state)
