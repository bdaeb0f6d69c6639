"""Every shipped configuration runs, and opens with its own command and its result."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support.vtab_folder import vtab_folder

from vpt.runs.prepare import prepare
from vpt.runs.reading import load_config
from vpt.runs.restore import restore
from vpt.runs.run import run

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
ONE_STEP = [
    "train.epochs=1", "train.batch_size=8", "train.tensorboard=false", "search.lr=[1e-3]", "seeds=[0]",
    "backbone.pretrained=false", "backbone.image_size=32",
]  # fmt: skip


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_it_runs_for_a_step(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = re.search(r"source: (\w+)", file.read_text())
    assert source is not None
    if source[1] == "embedded":
        data = ["data.options={train: 8, val: 4, test: 4, shots: null, val_shots: null}"]
    else:
        root = vtab_folder(tmp_path / "data", file.stem)
        (root / file.stem / "classnames.json").write_text('["a", "b", "c"]')
        data = [f"data.root={root}"]
    config = load_config(file, [*ONE_STEP, *data, f"out={tmp_path / 'run'}"])
    start = {name: t.detach().clone() for name, t in prepare(config, quiet=True).model(config, 0).trainable().items()}
    result = run(config, quiet=True)
    assert result["history"][0]["epoch"] == 1
    assert (tmp_path / "run" / "result.json").exists()
    learned = restore(tmp_path / "run").model
    assert not all(torch.equal(learned.get_parameter(name).detach().cpu(), tensor) for name, tensor in start.items())


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_it_opens_with_its_command_and_its_result(file: Path) -> None:
    opening = file.read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert f"vpt train configs/{file.name}" in opening
    assert "# Result: " in opening


def test_there_are_some() -> None:
    assert len(CONFIGS) >= 6
