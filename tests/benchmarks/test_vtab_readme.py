"""Every command of the suite's README is one that its parser and planner take, and its counts are the planner's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.suite.trial import SEARCH
from benchmarks.vtab.__main__ import _asked, parser
from benchmarks.vtab.lengths import LENGTHS
from benchmarks.vtab.planning import ABLATIONS, PRESETS, Asked, make_plan
from benchmarks.vtab.tasks import SOURCES
from vpt.data import vtab

ROOT = Path(__file__).parents[2]
README = (ROOT / "benchmarks" / "vtab" / "README.md").read_text()
OPENINGS = {path: path.read_text().split("\n\n")[0] for path in (*PRESETS.values(), *ABLATIONS.values())}
CONTINUED = re.compile(r"\\\n#?\s*")


def commands(text: str) -> list[str]:
    """Lines that call the suite, continuations joined."""
    joined = CONTINUED.sub("", text)
    return re.findall(r"python -m benchmarks\.vtab [^\n`#)]+", joined)


BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))


@pytest.mark.parametrize("command", [*commands(BLOCKS), *(c for text in OPENINGS.values() for c in commands(text))])
def test_a_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ROOT").mkdir()
    args = parser().parse_args(shlex.split(command)[3:])
    if hasattr(args, "preset"):
        assert _asked(args).trials


def test_every_preset_and_ablation_opens_with_its_command() -> None:
    assert all(commands(text) for text in OPENINGS.values())


def test_all_sources_and_ablations_are_described() -> None:
    for name in (*SOURCES, *ABLATIONS):
        assert f"| `{name}` |" in README
    for name in PRESETS:
        assert f"--preset {name}" in README


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_the_counts_are_the_planners(preset: str) -> None:
    plan = make_plan(Asked(preset, overrides=["data.source=folder", f"data.root={ROOT}"]))
    for stage in ("search", "final"):
        if count := sum(trial.stage == stage for trial in plan.trials):
            assert f"{count:,}" in README
    passes = sum(100 * (800 if t.stage == SEARCH else 1000) for t in plan.trials if t.method != "linear")
    assert f"{passes / 1e6:.0f}" in README


def test_the_disk_that_the_images_take() -> None:
    images = sum(1000 + task.test_images for task in vtab.TASKS.values())
    assert f"about {images * 224 * 224 * 3 / 1e9:.0f} GB" in README
    assert set(LENGTHS) == set(vtab.TASKS)
