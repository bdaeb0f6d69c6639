"""Runs that take a moment: the embedded architecture with random weights on a few digits."""

from __future__ import annotations

from pathlib import Path

from vpt.runs.config import RunConfig
from vpt.runs.reading import load_config

SMALL = [
    "backbone.pretrained=false", "backbone.image_size=16", "data.name=digits",
    "data.options={train: 40, val: 20, test: 30}", "train.epochs=2", "train.batch_size=20", "train.tensorboard=false",
    "method.options={length: 2}",
]  # fmt: skip


def small(out: Path, *more: str) -> RunConfig:
    """A configuration that trains in a moment."""
    return load_config(None, [*SMALL, f"out={out}", *more])
