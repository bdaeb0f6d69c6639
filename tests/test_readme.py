"""Every command and every line of Python in the README runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import forked
from support.extras import needs_onnx, needs_serve

import vpt

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for kind, body in BLOCKS if kind == "bash" for line in body.splitlines()]
PYTHON = [body for kind, body in BLOCKS if kind == "python"]
BENCHMARKS = next(i for i, command in enumerate(COMMANDS) if command.startswith("python -m benchmarks"))
"""Where the commands of a section of their own begin, which need nothing of those before."""
FEWER = "data.options={train: 240, val: 60, test: 100}"
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


def test_the_readme_has_the_commands_that_are_run_here() -> None:
    assert COMMANDS[:2] == ["scripts/quickstart", "scripts/test"]
    starts = [shlex.split(c)[:3] for c in COMMANDS[2:]]
    commands = ("train", "evaluate", "predict", "predict", "train", "predict", "read", "train", "train")
    assert [words[:2] for words in starts[:9]] == [["vpt", command] for command in commands]
    assert [words[:3] for words in starts[9:14]] == [
        ["vpt", "library", command] for command in ("add", "gate", "approve", "add", "approve")
    ]
    assert [words[:2] for words in starts[14:17]] == [["vpt", "serve"], ["curl", "-F"], ["vpt", "train"]]
    assert [words[-1] for words in starts[17:22]] == ["add", "diff", "approve", "rollback", "log"]
    assert [words[-1] for words in starts[22:]] == [
        *["runs/readme", "runs/second"], *["benchmarks.vtab"] * 3, "prepare", "verify",
        "benchmarks.fewshot", "benchmarks.serving", "benchmarks.speed",
    ]  # fmt: skip
    assert len(PYTHON) == 5


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[None]:
    """The server of the README, once it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, "-m", "vpt.cli.main", *command[1:]], cwd=folder, env=environment)
    try:
        for _ in range(600):
            assert server.poll() is None, "the server has ended"
            try:
                urllib.request.urlopen("http://127.0.0.1:8421/readyz", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


@needs_weights
@needs_serve
@needs_onnx
def test_the_commands_run_as_written(room: Path) -> None:
    with ExitStack() as running:
        for command in COMMANDS[2:BENCHMARKS]:
            words = shlex.split(command)
            if words[:2] == ["vpt", "serve"]:
                running.enter_context(serving(words, room))
            elif words[0] == "curl":
                (seen,) = json.loads(subprocess.check_output(words, cwd=room))["images"]
                assert [(a["task"], a["version"]) for a in seen["answers"]] == [("digits", 1), ("count", 1)]
            else:
                extra = NO_HUB if "--backbone vit" in command else []  # no hub: random weights, smaller images
                extra = [FEWER] if words[1:4:2] == ["train", "digits"] or words[1:4:2] == ["train", "count"] else extra
                assert forked.command([*words, *extra], room).strip()
    assert (room / "runs" / "readme" / "artifact" / "vpt_model.safetensors").exists()
    assert (room / "runs" / "my-images-deep" / "result.json").exists()
    assert "<html" in (room / "runs" / "coop.html").read_text()
    assert vpt.Library(room / "tasks").current("digits").number == 1
    assert (room / "runs" / "digits.onnx").exists()
    assert (room / "runs" / "digits-timm" / "model.safetensors").exists()


@needs_weights
def test_the_benchmarks_run_as_written(room: Path) -> None:
    for command in COMMANDS[BENCHMARKS:-2]:
        assert forked.command(shlex.split(command), room).strip()
    assert (room / "runs" / "mini" / "report" / "index.html").exists()
    assert (room / "runs" / "fewshot" / "report" / "index.html").exists()
    assert (room / "runs" / "prepared" / "count" / "manifest.json").exists()


@needs_weights
@pytest.mark.parametrize("position", range(5))
def test_the_python_runs_as_written(position: int, room: Path) -> None:
    fewer = r"\1, train=200, val=50, test=100)"  # images than the README's, for the time that they take
    out = forked.program(re.sub(r'(load_task\("embedded", None, (?:"digits"|name))\)', fewer, PYTHON[position]), room)
    assert "trainable%" in out if position == 0 else out.strip().endswith("%")


@needs_weights
@needs_serve
def test_the_serving_benchmark_runs_as_written(tmp_path: Path) -> None:
    forked.command(shlex.split(COMMANDS[-2]), tmp_path)
    assert {"results.json", "results.md"} <= {path.name for path in (tmp_path / "runs" / "serving").iterdir()}


def test_the_speed_benchmark_runs_in_its_quick_form(tmp_path: Path) -> None:
    forked.command([*shlex.split(COMMANDS[-1]), "--quick"], tmp_path)
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
