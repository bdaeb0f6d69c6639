"""Every command and every line of Python in the README runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for kind, body in BLOCKS if kind == "bash" for line in body.splitlines()]
PYTHON = [body for kind, body in BLOCKS if kind == "python"]
NO_HUB = ["backbone.pretrained=false", "backbone.image_size=32", "train.epochs=1", "search.epochs=1"]
needs_weights = pytest.mark.skipif(
    not (ROOT / "vpt" / "backbones" / "embedded_vit.safetensors").exists(), reason="the embedded weights are not there"
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which commands run, with the picture the README shows and a folder of images."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "docs").mkdir()
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "docs" / "vtab.png", folder / "docs")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "PATH" / "my-images" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "PATH" / "my-images" / name / f"{i}.png")
    return folder


def execute(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_readme_has_the_commands_that_are_run_here() -> None:
    assert COMMANDS[:2] == ["scripts/quickstart", "scripts/test"]
    starts = [shlex.split(c)[:3] for c in COMMANDS[2:]]
    commands = ("train", "evaluate", "predict", "predict", "train", "predict", "read", "train")
    assert [words[:2] for words in starts[:8]] == [["vpt", command] for command in commands]
    assert [words[-1] for words in starts[8:]] == [
        *["benchmarks.vtab"] * 3, "prepare", "verify", "benchmarks.fewshot", "benchmarks.speed",
    ]  # fmt: skip
    assert len(PYTHON) == 3


def as_modules(command: str) -> list[str]:
    """A command of the README as it runs without being installed."""
    words = shlex.split(command)
    return [sys.executable, *(["-m", "vpt.cli.main", *words[1:]] if words[0] == "vpt" else words[1:])]


@needs_weights
def test_the_commands_run_as_written(room: Path) -> None:
    for command in COMMANDS[2:-1]:
        extra = NO_HUB if "--backbone vit" in command else []  # no hub in tests: random weights, smaller images
        out = execute([*as_modules(command), *extra], room)
        assert out.strip()
    assert (room / "runs" / "readme" / "artifact" / "vpt_model.safetensors").exists()
    assert (room / "runs" / "my-images-deep" / "result.json").exists()
    assert (room / "runs" / "mini" / "report" / "index.html").exists()
    assert "<html" in (room / "runs" / "coop.html").read_text()
    assert (room / "runs" / "fewshot" / "report" / "index.html").exists()
    assert (room / "runs" / "prepared" / "count" / "manifest.json").exists()


@needs_weights
@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_python_runs_as_written(position: int, room: Path) -> None:
    out = execute([sys.executable, "-W", "error::UserWarning:vpt", "-c", PYTHON[position]], room)
    assert "trainable%" in out if position == 0 else out.strip().endswith("%")


def test_the_speed_benchmark_runs_in_its_quick_form(tmp_path: Path) -> None:
    words = shlex.split(COMMANDS[-1])
    execute([sys.executable, *words[1:], "--quick"], tmp_path)
    written = {path.name for path in (tmp_path / "runs" / "speed").iterdir()}
    assert {"results.json", "results.md", "speed.png", "index.html"} <= written


def test_the_quickstart_is_the_suite_in_miniature() -> None:
    """Which `benchmarks/test_vtab_run.py` runs."""
    assert "-m benchmarks.vtab run --preset mini --out runs/quickstart" in (ROOT / "scripts" / "quickstart").read_text()


def test_the_scripts_are_there_and_ci_calls_the_test_command() -> None:
    for name in ("scripts/quickstart", "scripts/test", "scripts/environment", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
        subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()
