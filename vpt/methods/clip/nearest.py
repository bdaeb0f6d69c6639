"""The rows of a large table that lie nearest to given vectors: exact, in blocks of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS, ENTRIES = 64, 4096
"""Vectors and table rows in one block; its products take 2 MiB."""

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
    each = [_candidates(vectors, entries.double(), k) for entries in table.split(ENTRIES)]
    owner = torch.cat([owner for owner, _, _ in each])
    place = torch.cat([place + ENTRIES * block for block, (_, place, _) in enumerate(each)])
    distance = torch.cat([distance for _, _, distance in each])
    order = distance.argsort(stable=True)  # of equal distances the lower place stays in front
    order = order[owner[order].argsort(stable=True)]
    counts = owner.bincount(minlength=len(vectors))
    kept = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(k)]
    return distance[kept], place[kept]


def _candidates(vectors: Tensor, entries: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (vector, entry) among which are each vector's k nearest entries, in order, and their exact distances."""
    squares, lengths = entries.square().sum(1), vectors.square().sum(1, keepdim=True)
    rough = lengths + squares - 2 * vectors @ entries.T
    bound = rough.kthvalue(min(k, len(entries)), dim=1, keepdim=True).values
    owner, place = (rough <= bound + SLACK * (lengths + squares.max())).nonzero(as_tuple=True)
    return owner, place, (vectors[owner] - entries[place]).square().sum(1).sqrt()
