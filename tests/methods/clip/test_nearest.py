"""Nearest rows of a table against sorting all distances."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vpt.methods.clip import nearest as module
from vpt.methods.clip.nearest import nearest


def brute_force(vectors: Tensor, table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    distances = (vectors.double()[:, None] - table.double()).square().sum(-1).sqrt()
    found = distances.sort(dim=1, stable=True)
    return found.values[:, :k], found.indices[:, :k]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_as_sorting_all_distances_ties_and_blocks_included(data: st.DataObject) -> None:
    rows, entries, width = (data.draw(st.integers(1, most)) for most in (9, 40, 4))
    k = data.draw(st.integers(1, entries))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    # few values: many rows are equal, and others are equally far
    spread, scale = data.draw(st.sampled_from([2, 5, 1000])), data.draw(st.sampled_from([1.0, 1e-3, 1e4]))
    both = torch.randint(-spread, spread, (rows + entries, width), generator=generator) * scale
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", data.draw(st.integers(1, 10)))
        patch.setattr(module, "ENTRIES", data.draw(st.integers(1, 50)))
        distances, places = nearest(both[:rows], both[rows:], k)
    expected, first = brute_force(both[:rows], both[rows:], k)
    assert torch.equal(distances, expected)
    assert torch.equal(places, first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_row_of_the_table_is_at_no_distance_from_itself(dtype: torch.dtype) -> None:
    table = torch.randn(5000, 24, generator=torch.Generator().manual_seed(0)).to(dtype)
    rows = torch.tensor([4999, 0, 4096, 4095])
    distances, places = nearest(table[rows], table, 2)
    assert torch.equal(places[:, 0], rows)
    assert (distances[:, 0] == 0).all()
    assert (distances[:, 1] > 0).all()


def test_far_from_the_origin_small_differences_still_count() -> None:
    """Where squared lengths drown a difference of squares."""
    table = 1e6 + torch.arange(50, dtype=torch.float64)[:, None].expand(-1, 8) * 1e-4
    distances, places = nearest(table[20:21] + 0.3e-4, table, 3)
    assert places.tolist() == [[20, 21, 19]]
    torch.testing.assert_close(distances, torch.tensor([[0.3e-4, 0.7e-4, 1.3e-4]]).double() * 8**0.5, rtol=1e-4, atol=0)


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any computation answers with."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple) else (found,):
            if isinstance(tensor, Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return found


def test_memory_is_bounded_where_most_rows_tie() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, table = torch.randn(10, 64, generator=generator), torch.zeros(6000, 64)
    table[:50] = torch.randn(50, 64, generator=generator)
    with Largest() as largest:
        distances, places = nearest(vectors, table, 5)
    assert largest.bytes <= 4 * 2**20, "no more than a few blocks of 2 MiB"
    expected, first = brute_force(vectors, table, 5)
    assert torch.equal(places, first)
    torch.testing.assert_close(distances, expected)
