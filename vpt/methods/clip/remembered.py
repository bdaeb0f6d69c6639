"""Features that are computed once, until a tensor they depend on is another or has changed in place.

A change through `tensor.data` goes unseen, since torch does not count it: change tensors under `torch.no_grad()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Remembered:
    """The last answer of a computation without gradients, and the state of the tensors that it came from."""

    def __init__(self) -> None:
        self._answer: Tensor | None = None
        self._state: tuple[object, ...] = ()

    def __call__(self, compute: Callable[[], Tensor], of: Iterable[Tensor]) -> Tensor:
        """`compute()` without gradients, or what it answered when all of the tensors `of` were as they are now."""
        if torch.compiler.is_compiling():  # a compiled pass cannot look whether tensors changed
            with torch.no_grad():
                return compute()
        tensors = tuple(of)
        state = (_precision(tensors[0].device), *((t.data_ptr(), t.dtype, _version(t)) for t in tensors))
        if self._answer is None or state != self._state:
            # not an inference tensor: training may read the answer later
            with torch.inference_mode(False), torch.no_grad():
                self._answer = compute()
            self._state = state
        return self._answer

    def forget(self) -> None:
        """Compute anew next time."""
        self._answer = None


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _precision(device: torch.device) -> tuple[object, ...]:
    return torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
