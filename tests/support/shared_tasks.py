"""Saved tasks of many kinds on one small model, each with what it answers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import vpt
from vpt.errors import OptionError

Kind = tuple[str, dict[str, Any]]
KINDS: tuple[Kind, ...] = (
    ("deep", {"length": 2}),
    ("deep", {"length": 5, "layers": [1]}),
    ("deep", {"length": 3, "layers": [0, 2], "project": 5}),
    ("deep", {"length": 3, "pool": "prompts"}),
    ("shallow", {"length": 4}),
    ("shallow", {"length": 2, "pool": "all"}),
    ("linear", {}),
    ("mlp", {"layers": 2}),
    ("added", {}),
    ("added", {"shared": True, "layers": "all"}),
    ("pixels", {"length": 2}),
    ("frame", {"border": 2}),
)
"""Methods of prompts and heads, as (name, options)."""


def noisy(model: Any, seed: int, size: float = 0.3) -> Any:
    """The tuned model in eval, with noise on every learned tensor."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.trainable().values():
            tensor.add_(size * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return model.eval()


def saved(backbone: nn.Module, kind: Kind, folder: Path, images: Tensor, seed: int = 0, **more: Any) -> Tensor:
    """Save a task of that kind into `folder`; answers with its logits `[B, C]` of `images`, and leaves nothing on."""
    method, options = kind
    return left(noisy(vpt.tune(backbone, method, seed=seed, **{**options, **more}), seed), folder, images)


def left(model: Any, folder: Path, images: Tensor) -> Tensor:
    """Save the tuned model into `folder` and detach it; answers with its logits `[B, C]` of `images`."""
    try:
        vpt.save(model, folder)
        with torch.no_grad():
            return model(images)
    finally:
        model.detach()


def saved_all(backbone: nn.Module, kinds: Sequence[Kind], folder: Path, images: Tensor) -> dict[str, Tensor]:
    """A task `"0"`, `"1"`, ... of each kind that the model takes, with 3, 4, ... classes, and their logits by name."""
    found = {}
    for number, kind in enumerate(kinds):
        try:
            more = {"num_classes": 3 + number, "head_init": "normal"}
            found[str(number)] = saved(backbone, kind, folder / str(number), images, number, **more)
        except OptionError:  # pooling by prompts, where the model pools by attention
            continue
    return found


def assert_alike(got: Tensor, expected: Tensor) -> None:
    """To 1e-10 of the largest value."""
    assert expected.abs().max() > 0, "nothing to compare"
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def assert_as_alone(results: Sequence[vpt.serving.Result], alone: Mapping[str, Tensor], rows: Sequence[int]) -> None:
    """Each result is what its task answers alone for the image of that row."""
    for result, row in zip(results, rows, strict=True):
        assert_alike(result.logits, alone[str(result.task)][row])
