"""Every command of the few-shot suite's README and presets is one that its parser and planner take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.vtab_folder import vtab_folder

from benchmarks.fewshot import tasks
from benchmarks.fewshot.__main__ import _asked, parser
from benchmarks.fewshot.planning import PRESETS
from benchmarks.fewshot.stage import KINDS
from vpt.data.sources.coop_table import DATASETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "benchmarks" / "fewshot" / "README.md").read_text()
OPENINGS = {path: path.read_text().split("\n\n")[0] for path in PRESETS.values()}
CONTINUED = re.compile(r"\\\n#?\s*")


def commands(text: str) -> list[str]:
    """Lines that call the suite, continuations joined."""
    return re.findall(r"python -m benchmarks\.fewshot [^\n`#)]+", CONTINUED.sub("", text))


BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))


@pytest.mark.parametrize("command", [*commands(BLOCKS), *(c for text in OPENINGS.values() for c in commands(text))])
def test_a_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vtab_folder(tmp_path / "ROOT", "cifar")
    for dataset in DATASETS.values():
        (tmp_path / "ROOT" / dataset.folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "ROOT" / dataset.folder / dataset.lists).touch()
    monkeypatch.setattr(tasks, "check", lambda names, data: None)  # there are no images behind these lists
    args = parser().parse_args(shlex.split(command)[3:])
    if hasattr(args, "preset"):
        assert _asked(args).trials


def test_every_preset_opens_with_its_command_and_is_described() -> None:
    assert all(commands(text) for text in OPENINGS.values())
    assert all(f"--preset {name}" in README for name in PRESETS)
    assert all(f"| `{kind}` |" in README for kind in KINDS)
