"""A benchmark that takes a moment: the embedded architecture with random weights on a few digits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL = [
    "backbone.pretrained=false", "backbone.image_size=16", "epochs=3", "search_epochs=2", "batch_size=20",
]  # fmt: skip
FEW = "data.options={train: 40, val: 20, test: 30}"


def command(step: str, out: Path, *more: str, settings: list[str] | None = None) -> list[str]:
    """`step --preset mini --out OUT ...` with the small settings and `settings`."""
    few = [] if "--source" in more else [FEW]
    given = ["--set", *SMALL, *few, *(settings or [])] if step != "report" else []
    preset = ["--preset", "mini"] if step != "report" else []
    return [step, *preset, "--out", str(out), *more, *given]


def begin(out: Path, *more: str, settings: list[str] | None = None) -> subprocess.Popen[str]:
    """Start `python -m benchmarks.vtab run` in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "benchmarks.vtab", *command("run", out, *more, settings=settings)]
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, start_new_session=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=_interruptible,
    )  # fmt: skip


def _interruptible() -> None:
    """Tests that run in the background are born deaf to Ctrl-C, and their children with them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Every record under `out` by id."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / "trials").glob("*.json"))}


def results(out: Path) -> dict[str, dict[str, Any]]:
    """The records without what may differ between equal results."""
    return {name: {k: v for k, v in record.items() if k != "cost"} for name, record in records(out).items()}


def events(out: Path) -> list[dict[str, Any]]:
    """What happened, in order."""
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
