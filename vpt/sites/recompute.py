"""Gradient checkpointing of a backbone: whether its blocks are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

SWITCHES = ("grad_checkpointing", "gradient_checkpointing")
"""The attribute that says so, in some of the modules: that of timm and open_clip, and that of transformers."""


@contextmanager
def recomputing(model: nn.Module, on: bool) -> Iterator[None]:
    """With it switched on or off in all of `model` inside, and in every module as it was afterwards.

    To switch it on takes a model with `set_grad_checkpointing`, which knows the modules that it has to reach.
    """
    before = [(module, name, getattr(module, name)) for module in model.modules() for name in _switches(module)]
    if on:
        whole: Any = model
        whole.set_grad_checkpointing(True)
    else:
        _set((module, name, False) for module, name, _ in before)
    try:
        yield
    finally:
        _set(before)


def _switches(module: nn.Module) -> list[str]:
    return [name for name in SWITCHES if isinstance(getattr(module, name, None), bool)]


def _set(states: Iterable[tuple[nn.Module, str, bool]]) -> None:
    for module, name, value in states:
        if getattr(module, name) != value:
            setattr(module, name, value)
