"""A few-shot benchmark that takes a moment: the embedded CLIP's architecture with random weights on a few digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fewshot.__main__ import main

IMAGES = {"train": 320, "val": 60, "test": 30}
SMALL = [
    "backbone.pretrained=false", "epochs=2", "batch_size=80",
    f"data.options={{train: {IMAGES['train']}, val: {IMAGES['val']}, test: {IMAGES['test']}}}",
]  # fmt: skip


def step(name: str, out: Path, *more: str, settings: list[str] | None = None) -> int:
    """`benchmarks.fewshot NAME --preset mini --out OUT ...` in this process, with the small settings; its exit code."""
    given = ["--preset", "mini", *more, "--set", *SMALL, *(settings or [])] if name != "report" else list(more)
    with pytest.raises(SystemExit) as ended:
        main([name, "--out", str(out), *given])
    return int(ended.value.code or 0)


def run(out: Path, *more: str, settings: list[str] | None = None) -> int:
    """As `step`, inline and quiet."""
    return step("run", out, "--executor", "inline", "--quiet", *more, settings=settings)
