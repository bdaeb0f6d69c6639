"""How prompts start. An initialiser is a small closure: a shape and a generator in, a tensor out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.errors import OptionError


class Initializer(Protocol):
    """Answers a float32 tensor of the shape it is asked for, usually `(L, P, d)`."""

    def __call__(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor: ...


def uniform(bound: float) -> Initializer:
    """U(-bound, bound)."""
    return lambda shape, generator=None: torch.empty(*shape).uniform_(-bound, bound, generator=generator)


def paper(patch_size: tuple[int, int]) -> Initializer:
    """The paper's U(-v, v), v = sqrt(6 / (3 * patch height * patch width + d)): Xavier for a patch embedding."""

    def init(shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return uniform(math.sqrt(6 / (3 * math.prod(patch_size) + shape[-1])))(shape, generator)

    return init


def normal(std: float = 0.02) -> Initializer:
    """N(0, std²)."""
    return lambda shape, generator=None: torch.empty(*shape).normal_(0, std, generator=generator)


def zeros() -> Initializer:
    """All zeros."""
    return lambda shape, generator=None: torch.zeros(*shape)


def kaiming(shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """Kaiming-normal with fan-out for a linear map `[out, in]`, a = 0 and leaky ReLU's gain as torch's default."""
    return torch.empty(*shape).normal_(0, math.sqrt(2 / shape[0]), generator=generator)


def from_array(array: Any) -> Initializer:
    """The given values: `[L, P, d]`, or `[P, d]` for every prompted block alike."""
    try:
        values = torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"init is {array!r}; accepted: a name, or numbers of shape [L, P, d] or [P, d]") from error
    values = values if values.is_floating_point() else values.float()
    if broken := int((~values.isfinite()).sum()):
        raise OptionError(f"init holds NaN or infinity at {broken} of {values.numel()} places; give finite numbers")

    def init(shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        given = values.unsqueeze(0).expand(shape[0], -1, -1) if values.dim() == len(shape) - 1 else values
        if tuple(given.shape) != tuple(shape):
            raise OptionError(f"init has shape {tuple(values.shape)}; these prompts have shape {tuple(shape)}")
        return given.clone()

    return init


# --- from the training images (Self-Prompt Tuning, arXiv:2402.02382) ------------------------------


def _mean(tokens: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """The images' average patch map `[n, N, D]`, pooled along the patch order to `length` tokens."""
    return F.adaptive_avg_pool1d(tokens.mean(0).T.unsqueeze(0), length).squeeze(0).T


def _random(tokens: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """`length` tokens of random images at random places."""
    pool = tokens.flatten(0, 1)
    order = torch.randperm(len(pool), generator=generator)
    return pool[order[torch.arange(length) % len(order)]]


def _kmeans(tokens: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """The `length` centres that k-means finds among all tokens."""
    from sklearn.cluster import MiniBatchKMeans

    pool = tokens.flatten(0, 1).double().numpy()
    if len(pool) < length:
        raise OptionError(f"k-means for {length} prompts was given {len(pool)} patch tokens; pass more images")
    seed = int(torch.randint(2**31, (1,), generator=generator))
    centres = MiniBatchKMeans(length, n_init=3, random_state=seed).fit(pool).cluster_centers_
    return torch.from_numpy(centres)


SELECTIONS: dict[str, Callable[[Tensor, int, torch.Generator | None], Tensor]] = {
    "mean": _mean,
    "random": _random,
    "kmeans": _kmeans,
}
"""How patch tokens `[n, N, D]` become prompts `[P, D]`."""


def from_patches(tokens: Sequence[Tensor], how: str) -> Initializer:
    """Prompts taken from the training images' own patch tokens.

    `tokens` has one `[n, N, D]` per prompted block (what enters that block); `how` is a key of `SELECTIONS`.
    """

    def init(shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        if not tokens:
            return torch.zeros(*shape)
        if (width := tokens[0].shape[-1]) != shape[-1]:
            raise OptionError(f"prompts of width {shape[-1]} cannot start from patch tokens of width {width}")
        rows = [SELECTIONS[how](layer.float().cpu(), shape[1], generator) for layer in tokens[: shape[0]]]
        return torch.stack(rows).to(torch.float32)

    return init
