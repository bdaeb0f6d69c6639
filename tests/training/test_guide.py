"""Steps that never oppose a guide."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vpt.training.guide import follow, guide_gradients, unopposed

VECTORS = st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))


@given(VECTORS, VECTORS, st.floats(1e-3, 1e3))
def test_only_the_part_against_the_guide_goes(gradient: torch.Tensor, guide: torch.Tensor, scale: float) -> None:
    found = unopposed(gradient, guide)
    if (gradient @ guide) >= 0:
        assert torch.equal(found, gradient)
    elif guide @ guide > 1e-6:
        assert abs(found @ guide) < 1e-9
        assert torch.allclose(torch.linalg.cross(found - gradient, guide), torch.zeros(3).double(), atol=1e-9)
    torch.testing.assert_close(unopposed(gradient * scale, guide / scale), found * scale, rtol=1e-9, atol=1e-9)


def test_each_parameter_follows_its_own_guide() -> None:
    first, second = nn.Parameter(torch.tensor([1.0, 0.0])), nn.Parameter(torch.tensor([2.0, 1.0]))
    loss, guide = (first * torch.tensor([1.0, 2.0])).sum() + second.sum(), -first[0] * 3
    guides = guide_gradients(guide, [first, second])
    assert guides[1] is None
    loss.backward()
    follow([first, second], guides)
    assert torch.equal(first.grad, torch.tensor([0.0, 2.0]))
    assert torch.equal(second.grad, torch.ones(2))
