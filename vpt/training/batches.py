"""Which images meet in which step: a function of seed and epoch alone, split over processes without remainder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Sampler

from vpt.data.loader import epoch_order


class Labelled(Protocol):
    """What `fit` and `evaluate` read. An item is `{"image": float [3, H, W], "label": int, "index": int}`.

    `set_epoch(e)` is called where it exists; `images.describe(index)` names images in errors where it exists.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def epoch_batches(n: int, batch_size: int, *, shuffle: bool, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """The positions of every global batch of an epoch; the last one may be smaller."""
    order = epoch_order(n, seed, epoch) if shuffle else list(range(n))
    return [order[start : start + batch_size] for start in range(0, n, batch_size)]


class Shard(Sampler[list[int]]):
    """The part of each global batch that process `rank` of `world` works on: every `world`-th image.

    All processes take the same number of steps. Where a batch has fewer images than there are processes, a process
    without one gets the batch's first image as a stand-in that must not count: `counts[step]` is 0 there.
    """

    def __init__(self, batches: Sequence[list[int]], rank: int = 0, world: int = 1) -> None:
        parts = [batch[rank::world] for batch in batches]
        self.counts = [len(part) for part in parts]
        self.batches = [part or batch[:1] for part, batch in zip(parts, batches, strict=True)]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def load_batches(
    dataset: Labelled, shard: Shard, *, seed: int = 0, workers: int = 0, pin_memory: bool = False
) -> DataLoader[dict[str, Any]]:
    """A `DataLoader` over `shard`. Workers live for one epoch, so that each sees the dataset's current epoch.

    seed: of the workers' random generators, for datasets that draw from them; without workers they draw from the
    process's own.
    """
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # any map-style dataset will do
        batch_sampler=shard,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # else opening a loader would draw from the global generator
    )


def describe(dataset: Labelled, index: int) -> str:
    """A person's name for the image with the item field `index`: its path where the dataset knows it."""
    images: Any = getattr(dataset, "images", None)
    return str(images.describe(index)) if hasattr(images, "describe") else f"image {index}"
