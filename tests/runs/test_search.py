"""A search tries the grid of learning rates and weight decays; linear probes are trained together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import small

from vpt.errors import TrainingError
from vpt.runs.config import MethodConfig, RunConfig
from vpt.runs.prepare import prepare
from vpt.runs.run import run
from vpt.runs.search import search
from vpt.training import probe

RATES = "search={lr: [1e-1, 1e-2, 1e-3], epochs: 3}"
GRID = "search={lr: [1e-1, 1e-3], weight_decay: [0, 0.5], epochs: 2}"


def linear(out: Path, *more: str) -> RunConfig:
    config = small(out, *more)
    config.method = MethodConfig(name="linear")
    return config


def searched(config: RunConfig) -> dict[str, Any]:
    assert config.out is not None
    return search(config, prepare(config, quiet=True), config.out, quiet=True)


def without_time(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


@pytest.mark.parametrize(("optimizer", "rounding"), [("sgd", 1e-6), ("adamw", 1e-2)])
def test_trained_together_the_answer_is_that_of_training_each_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, rounding: float
) -> None:
    # in float32; AdamW makes steps of full length out of gradients that are rounding alone
    more = (RATES, f"train.optimizer={optimizer}", "train.label_smoothing=0.1", "seeds=[3,1]")
    together = searched(linear(tmp_path / "together", *more))
    monkeypatch.setattr(probe, "sweep", lambda *args, **more: None)
    alone = searched(linear(tmp_path / "alone", *more))
    for one, other in zip(together["trials"], alone["trials"], strict=True):
        assert one.keys() == other.keys()
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=rounding)
        assert {**one, "train_loss": 0, "seconds": 0} == {**other, "train_loss": 0, "seconds": 0}
    assert {**together, "trials": 0} == {**alone, "trials": 0}


def test_linear_probes_are_not_trained_one_by_one(tmp_path: Path, counted: list[dict[str, Any]]) -> None:
    result = run(linear(tmp_path / "run", RATES), quiet=True)
    assert [(c["did"], c["images"]) for c in counted] == [("fit", 60), ("evaluate", 30)]
    assert result["trained_with"]["train"]["lr"] == result["search"]["lr"]


def test_augmented_probes_are(tmp_path: Path, counted: list[dict[str, Any]]) -> None:
    searched(linear(tmp_path / "run", "search={lr: [1e-2, 1e-3], epochs: 1}", "data.augment=light"))
    assert [c["did"] for c in counted] == ["fit", "evaluate"] * 2


@pytest.mark.parametrize("method", ["linear", "deep"])
def test_the_grid_is_tried_recorded_and_settled(tmp_path: Path, method: str) -> None:
    config = linear(tmp_path / "run", GRID)
    config.method = MethodConfig(name=method)
    result = run(config, quiet=True)
    found = result["search"]
    tried = [(trial["lr"], trial["weight_decay"]) for trial in found["trials"]]
    assert tried == [(0.1, 0.0), (0.1, 0.5), (1e-3, 0.0), (1e-3, 0.5)]
    names = {path.name for path in (tmp_path / "run" / "search").iterdir()}
    assert names == {"lr-0.1-wd-0", "lr-0.1-wd-0.5", "lr-0.001-wd-0", "lr-0.001-wd-0.5"}
    best = max(found["trials"], key=lambda trial: trial["accuracy"])
    settled = result["trained_with"]["train"]
    for name in ("lr", "weight_decay"):
        assert found[name] == best[name] == settled[name]
    assert len({trial["train_loss"] for trial in found["trials"]}) == 4


def test_one_weight_decay_keeps_the_names_and_is_used(tmp_path: Path) -> None:
    usual = searched(linear(tmp_path / "usual", "search={lr: [0.1], epochs: 2}", "train.weight_decay=0.5"))
    given = searched(linear(tmp_path / "given", "search={lr: [0.1], weight_decay: [0.5], epochs: 2}"))
    assert usual["weight_decay"] == given["weight_decay"] == 0.5
    assert without_time(usual["trials"]) == without_time(given["trials"])
    for folder in ("usual", "given"):
        assert [path.name for path in (tmp_path / folder / "search").iterdir()] == ["lr-0.1"]


def test_finished_trials_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = linear(tmp_path / "run", RATES)
    first = searched(config)
    shutil.rmtree(tmp_path / "run" / "search" / "lr-0.01")
    original, tried = probe.sweep, []

    def spy(model: Any, train: Any, val: Any, points: Any, *rest: Any, **more: Any) -> Any:
        tried.extend(point.lr for point in points)
        return original(model, train, val, points, *rest, **more)

    monkeypatch.setattr(probe, "sweep", spy)
    again = searched(config)
    assert tried == [1e-2]
    for one, other in zip(without_time(first["trials"]), without_time(again["trials"]), strict=True):
        assert one.pop("train_loss") == pytest.approx(other.pop("train_loss"), rel=1e-2)
        assert one == other
    assert searched(config) == again
    assert tried == [1e-2]


def test_a_record_from_before_weight_decays_were_searched_is_read(tmp_path: Path) -> None:
    config = linear(tmp_path / "run", "search={lr: [1e-2], epochs: 1}", "train.weight_decay=0.25")
    path = tmp_path / "run" / "search" / "lr-0.01" / "trial.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"lr": 1e-2, "epochs": 1, "accuracy": 0.5, "train_loss": 2.0, "seconds": 1.0}))
    found = searched(config)
    assert (found["lr"], found["weight_decay"], found["trials"][0]["weight_decay"]) == (1e-2, 0.25, 0.25)


def test_a_probe_that_diverges_is_failed_not_fatal(tmp_path: Path) -> None:
    config = linear(tmp_path / "run", "search={lr: [1e30, 1e-3], weight_decay: [0.1], epochs: 3}")
    found = searched(config)
    trial = json.loads((tmp_path / "run" / "search" / "lr-1e+30" / "trial.json").read_text())
    assert trial["accuracy"] is None
    assert "loss is not finite at step" in trial["failed"]
    assert found["lr"] == 1e-3
    with pytest.raises(TrainingError, match="every learning rate of the search failed: loss is not finite"):
        searched(linear(tmp_path / "all", "search={lr: [1e30], weight_decay: [0.1], epochs: 3}"))
