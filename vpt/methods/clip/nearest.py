"""The rows of a large table that lie nearest to given vectors: exact, in blocks of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS, ENTRIES = 64, 4096
"""Vectors and table rows in one block; its products take 2 MiB, and differences are taken in portions of 2 MiB."""

SLACK = 1e-11
"""How far products in float64 may miss a squared distance, as a share of the squared lengths; their error is smaller.
"""


def nearest(vectors: Tensor, table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k rows of `table` `[V, D]` nearest to each of `vectors` `[n, D]`, nearest first; of equals the first.

    Answers Euclidean distances `[n, k]` in float64 and places in the table `[n, k]`. Products of a block find the
    candidates, differences measure them, so that a vector which is in the table has a distance of 0. k is at most V.
    """
    found = [_of_block(block.double(), table, k) for block in vectors.split(ROWS)]
    distances, places = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(places)


def _of_block(vectors: Tensor, table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    each = [_among(vectors, entries.double(), min(k, len(entries))) for entries in table.split(ENTRIES)]
    distances = torch.cat([distances for distances, _ in each], 1)
    places = torch.cat([places + ENTRIES * block for block, (_, places) in enumerate(each)], 1)
    order = distances.argsort(dim=1, stable=True)[:, :k]  # of equal distances the lower place stays in front
    return distances.gather(1, order), places.gather(1, order)


def _among(vectors: Tensor, entries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances `[n, k]` and places `[n, k]` of each vector's k nearest of one block of entries, as `nearest`."""
    owner, place = _candidates(vectors, entries, k)
    distance = _distances(vectors, entries, owner, place)
    order = distance.argsort(stable=True)
    order = order[owner[order].argsort(stable=True)]
    counts = owner.bincount(minlength=len(vectors))
    kept = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(k)]
    return distance[kept], place[kept]


def _distances(vectors: Tensor, entries: Tensor, owner: Tensor, place: Tensor) -> Tensor:
    """The distance of each pair (vector, entry), by portions that fill one tensor: one each would scatter the heap."""
    found = vectors.new_empty(len(owner))
    size = max(1, ROWS * ENTRIES // vectors.shape[1])
    for into, own, other in zip(found.split(size), owner.split(size), place.split(size), strict=True):
        into.copy_((vectors[own] - entries[other]).square_().sum(1).sqrt_())
    return found


def _candidates(vectors: Tensor, entries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Pairs (vector, entry), in order, among which are each vector's k nearest entries; all of them where they tie."""
    squares, lengths = entries.square().sum(1), vectors.square().sum(1, keepdim=True)
    rough = lengths + squares - 2 * vectors @ entries.T
    bound = rough.kthvalue(k, dim=1, keepdim=True).values
    owner, place = (rough <= bound + SLACK * (lengths + squares.max())).nonzero(as_tuple=True)
    return owner, place
