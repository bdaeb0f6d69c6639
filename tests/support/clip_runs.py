"""Runs of the embedded CLIP that take a moment: random weights, a few small digits."""

from __future__ import annotations

from pathlib import Path

from vpt.runs.config import RunConfig
from vpt.runs.reading import load_config

DIGITS = "[zero, one, two, three, four, five, six, seven, eight, nine]"
SMALL_CLIP = [
    "backbone.name=embedded-clip", "backbone.pretrained=false", "backbone.image_size=16", "method.name=coop",
    "data.name=digits", f"data.options={{train: 30, val: 10, test: 20, class_names: {DIGITS}}}",
    "method.options={context_length: 2}", "train.epochs=2", "train.batch_size=10", "train.tensorboard=false",
]  # fmt: skip


def small_clip_run(out: Path, *more: str) -> RunConfig:
    """A configuration that trains in a moment; another method's options are its own."""
    other = any(item.startswith("method.name=") for item in more)
    base = [item for item in SMALL_CLIP if not (other and item.startswith("method."))]
    return load_config(None, [*base, f"out={out}", *more])
