"""How much memory a saved task may ask for while it is rebuilt: little more than what is stored of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vpt.artifacts.schema import Manifest
from vpt.errors import ArtifactError

MAKERS: frozenset[Callable[..., Tensor]] = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn})
"""What learned tensors are made by. They name neither a type nor a device, unlike what a tower makes as it runs."""

AGAIN = 2
"""How often a learned tensor may be made until it is the one that is kept."""

SPARE = 2**26
"""Numbers beyond those that are stored: 256 MB of float32."""

LEAST = 2**14
"""Numbers that the smallest tensor counts as, so that thousands of modules are too much as well."""


class Room(TorchFunctionMode):
    """A context in which `ArtifactError` is raised before memory is asked for that no task of these tensors needs.

    A few words in a configuration can ask for any amount. fresh: numbers that the caller asks for besides.
    """

    def __init__(self, manifest: Manifest, fresh: int = 0) -> None:
        super().__init__()
        self._left = SPARE + fresh + AGAIN * sum(math.prod(shape) for shape in manifest.tensors["shapes"].values())

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Any function of torch's, after what it makes is counted."""
        named = dict(kwargs or {})
        if function in MAKERS and named.get("dtype") is named.get("device") is None:
            self._left -= max(LEAST, function(*args, **{**named, "device": "meta"}).numel())
            if self._left < 0:
                raise ArtifactError("its options ask for far more memory than is stored")
        return function(*args, **named)
