"""The one backbone that estimators take turns on."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vpt.backbones import Tokenizer, family_of, load_backbone, load_tokenizer
from vpt.errors import OptionError

KEPT = 2
"""Backbones given by name that stay in memory: those used last."""

_turn = threading.Lock()  # one for all backbones, since training seeds the generators of the whole process


@contextmanager
def borrowed(backbone: Any, checkpoint: Any, device: torch.device) -> Iterator[tuple[nn.Module, Tokenizer | None]]:
    """The model to attach to, by name or as it is given, on `device`, for one caller at a time, who detaches.

    With it comes the tokenizer of an open_clip model that has a name. Afterwards the model is on the device where it
    was, and the global random generators are as they were.
    Raises `OptionError` for what is neither a name nor a model; `OptionError` and `WeightsUnavailable` as
    `vpt.load_backbone`.
    """
    with _turn, unmoved_generators():
        model, tokenizer = _found(backbone, checkpoint)
        place = next(model.parameters()).device
        try:
            yield model.to(device), tokenizer
        finally:
            model.to(place)


def _found(backbone: Any, checkpoint: Any) -> tuple[nn.Module, Tokenizer | None]:
    if isinstance(backbone, str):
        return _named(backbone, *_weights(checkpoint))
    if not isinstance(backbone, nn.Module):
        raise OptionError(f"backbone is {backbone!r}; accepted: a name that `vpt backbones` lists, or a stock model")
    if checkpoint is not None:
        raise OptionError(f"checkpoint is {str(checkpoint)!r}; a backbone that is given as a model has its weights")
    return backbone, None


def _weights(checkpoint: Any) -> tuple[Path | None, tuple[int, int] | None]:
    """The file, and when it was written with how many bytes; None where there is none."""
    if checkpoint is None:
        return None, None
    if not isinstance(checkpoint, str | os.PathLike):
        raise OptionError(f"checkpoint is {checkpoint!r}; accepted: the path of a file, or None")
    path = Path(checkpoint)
    try:
        found = path.stat()
    except OSError:  # who reads it says what is wrong with it
        return path, None
    return path, (found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=KEPT)
def _named(name: str, checkpoint: Path | None, written: tuple[int, int] | None) -> tuple[nn.Module, Tokenizer | None]:
    """The model of a name, read anew where its weights have been `written` since."""
    model = load_backbone(name, checkpoint=checkpoint)
    return model, load_tokenizer(name) if family_of(name) == "open_clip" else None


@contextmanager
def unmoved_generators() -> Iterator[None]:
    """The global random generators of Python, NumPy and torch are afterwards as they were before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
