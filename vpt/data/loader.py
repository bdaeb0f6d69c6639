"""Batches in an order that depends on (seed, epoch) alone, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vpt.errors import OptionError


def mix(*parts: int) -> int:
    """One well-mixed seed in [0, 2³²) from several non-negative numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def epoch_order(n: int, seed: int, epoch: int) -> list[int]:
    """The order of `n` images in one epoch, a function of (seed, epoch) alone."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(n).tolist()
    return order


class EpochSampler(Sampler[int]):
    """All indices of a dataset, shuffled by (seed, epoch). The epoch is the dataset's own where it keeps one.

    `set_epoch` is what accelerate's loaders call; it moves the dataset as well.
    """

    def __init__(self, dataset: Dataset[Any], seed: int = 0, shuffle: bool = True) -> None:
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose order comes next."""
        return int(getattr(self.dataset, "epoch", self._epoch))

    def set_epoch(self, epoch: int) -> None:
        """Moves the order, and the dataset if it can be moved, to another epoch."""
        self._epoch = epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(len(self)))
        return iter(epoch_order(len(self), self.seed, self.epoch))


def loader(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    shuffle: bool,
    seed: int = 0,
    workers: int = 0,
    drop_last: bool = False,
) -> DataLoader[Any]:
    """Batches of `dataset`; call `dataset.set_epoch(e)` (or `loader.sampler.set_epoch(e)`) before each epoch.

    The global random state is neither read nor moved. Raises `OptionError` for sizes that give no batch.
    """
    count = len(dataset)  # type: ignore[arg-type]
    wrong = [f"{n}={v}, at least {least}" for n, v, least in
             (("batch_size", batch_size, 1), ("workers", workers, 0), ("seed", seed, 0)) if v < least]  # fmt: skip
    if wrong:
        raise OptionError(f"loader: {'; '.join(wrong)} is accepted")
    if drop_last and batch_size > count:
        raise OptionError(f"loader: batch_size={batch_size} with drop_last leaves no batch of {count} images")
    return DataLoader(
        dataset,
        batch_size,
        sampler=EpochSampler(dataset, seed, shuffle),
        num_workers=workers,
        drop_last=drop_last,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),  # seeds the workers; torch would take it from the global state
    )
