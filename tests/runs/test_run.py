"""A run leaves a folder of record, chooses on val alone, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import small

from vpt.artifacts import is_artifact, read
from vpt.errors import DataError, NonFiniteLoss, OptionError, TrainingError
from vpt.runs import run as run_module
from vpt.runs.config import DataConfig, MethodConfig
from vpt.runs.reading import load_config
from vpt.runs.run import run, summarise


def tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_holds_everything_of_record(finished: Path) -> None:
    assert is_artifact(finished / "artifact")
    for name in ("config.yaml", "metrics.jsonl", "report.json", "report.png", "result.json"):
        assert (finished / name).stat().st_size > 0
    assert not list(finished.glob("*.pt"))
    result = json.loads((finished / "result.json").read_text())
    assert result["config"] == load_config(finished / "config.yaml").to_dict()
    assert {"torch", "timm", "vpt", "python", "torchvision", "pillow", "accelerate"} <= result["versions"].keys()
    assert {"albumentations", "numpy", "scikit-learn"} <= result["versions"].keys()
    assert result["device"].split()[0] in ("cpu", "cuda", "mps")
    assert result["precision"] == "fp32"
    assert result["data"]["route"] == "embedded"
    assert all(len(digest) == 64 for digest in result["data"]["digests"].values())
    assert result["fingerprint"] == read(finished / "artifact").fingerprint
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert all("val_accuracy" in row for row in result["history"])
    assert result["parameters"]["trained"] == result["parameters"]["prompts"] + result["parameters"]["head"]
    assert json.loads((finished / "report.json").read_text())["accuracy"] == result["metrics"]["accuracy"]


def test_running_a_finished_run_again_does_nothing_but_say_so(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(finished)
    result = run(load_config(finished / "config.yaml"))
    assert "is finished" in capsys.readouterr().err
    assert tree(finished) == before
    assert result == json.loads((finished / "result.json").read_text())


def test_another_configuration_in_the_same_folder_is_refused(finished: Path) -> None:
    with pytest.raises(OptionError, match=r"train\.lr \(0\.001, now 0\.5\)"):
        run(load_config(finished / "config.yaml", ["train.lr=0.5"]))


def test_the_search_sees_val_and_never_test(tmp_path: Path, counted: list[dict[str, Any]]) -> None:
    card = "card={licence: MIT, intended_use: to count}"
    result = run(small(tmp_path / "run", "search={lr: [1e-3, 1e-2], epochs: 1}", card), quiet=True)
    saved = read(tmp_path / "run" / "artifact")
    assert (saved.licence, saved.intended_use) == ("MIT", "to count")
    searching, final = counted[:-2], counted[-2:]
    assert [(c["did"], c["images"]) for c in searching] == [("fit", 40), ("evaluate", 20)] * 2
    assert [c["lr"] for c in searching if c["did"] == "fit"] == [1e-3, 1e-2]
    assert [(c["did"], c["images"]) for c in final] == [("fit", 60), ("evaluate", 30)]
    assert final[0]["lr"] == result["search"]["lr"] == result["trained_with"]["train"]["lr"]
    best = max(result["search"]["trials"], key=lambda trial: trial["accuracy"])
    assert result["search"]["lr"] == best["lr"]
    assert len(result["history"]) == 2


def test_trials_that_diverge_are_failed_not_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vpt.training as training

    original = training.fit

    def diverging(model: Any, train: Any, val: Any, config: Any, **more: Any) -> Any:
        if config.lr > 0.5:
            raise NonFiniteLoss("loss is nan")
        return original(model, train, val, config, **more)

    monkeypatch.setattr(training, "fit", diverging)
    result = run(small(tmp_path / "a", "search={lr: [1, 1e-3], epochs: 1}"), quiet=True)
    assert result["search"]["lr"] == 1e-3
    assert result["search"]["trials"][0]["failed"] == "loss is nan"
    with pytest.raises(TrainingError, match="every learning rate"):
        run(small(tmp_path / "b", "search={lr: [1, 2], epochs: 1}"), quiet=True)


def test_a_trial_whose_last_step_broke_the_model_is_failed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vpt.training as training

    original = training.fit

    def breaking(model: Any, train: Any, val: Any, config: Any, **more: Any) -> Any:
        result = original(model, train, val, config, **more)
        if config.lr > 0.5:
            next(iter(model.trainable().values())).data.fill_(float("nan"))
        return result

    monkeypatch.setattr(training, "fit", breaking)
    result = run(small(tmp_path / "a", "search={lr: [1, 1e-3], epochs: 1}"), quiet=True)
    assert result["search"]["lr"] == 1e-3
    trial = json.loads((tmp_path / "a" / "search" / "lr-1" / "trial.json").read_text())
    assert trial["accuracy"] is None
    assert "NaN or infinite logits" in trial["failed"]


@pytest.mark.parametrize(
    ("more", "images", "fit_on"),
    [
        (["data.options.shots=2"], 20, "train"),
        (["data.options.shots=2", "data.fit_on=trainval"], 40, "trainval"),
        (["data.fit_on=train"], 60, "train"),
    ],
)
def test_after_a_search_few_shot_training_stays_few_shot(
    tmp_path: Path, counted: list[dict[str, Any]], more: list[str], images: int, fit_on: str
) -> None:
    rates = "search={lr: [1e-3, 1e-2], epochs: 1}"
    result = run(small(tmp_path / "run", "data.options.train=60", "train.epochs=1", rates, *more), quiet=True)
    assert (counted[-2]["did"], counted[-2]["images"]) == ("fit", images)
    assert result["trained_with"]["data"]["fit_on"] == fit_on


def test_the_untouched_backbone_is_recorded_whatever_was_tuned(finished: Path, tmp_path: Path) -> None:
    frozen = json.loads((finished / "result.json").read_text())
    config = small(tmp_path / "run", "train.epochs=1")
    config.method = MethodConfig(name="bias")
    bias = run(config, quiet=True)
    assert frozen["backbone_fingerprint"] == frozen["fingerprint"] == bias["backbone_fingerprint"]
    assert bias["fingerprint"] != bias["backbone_fingerprint"]


def test_an_interrupted_run_goes_on_with_other_bookkeeping_and_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, "measuring")
    with pytest.raises(KeyboardInterrupt):
        run(small(tmp_path / "run"), quiet=True)
    monkeypatch.undo()
    more = ["train.log_every=1", "train.checkpoint_every=2", f"data.cache={tmp_path / 'cache'}"]
    resumed = run(small(tmp_path / "run", *more), quiet=True)
    assert len(resumed["history"]) == 2
    assert run(small(tmp_path / "run"), quiet=True) == resumed


def test_seeds_are_runs_of_their_own_and_summed_up(tmp_path: Path) -> None:
    config = small(tmp_path / "run", "seeds=[0,3]", "search={lr: [1e-3], epochs: 1}")
    result = run(config, quiet=True)
    inner = [json.loads((tmp_path / "run" / name / "result.json").read_text()) for name in result["runs"]]
    assert result["runs"] == ["seed-0", "seed-3"]
    assert result["summary"] == summarise([r["metrics"] for r in inner])
    assert result["summary"]["accuracy"]["values"] == [r["metrics"]["accuracy"] for r in inner]
    assert inner[0]["history"] != inner[1]["history"]
    alone = run(load_config(tmp_path / "run" / "seed-3" / "config.yaml", [f"out={tmp_path / 'alone'}"]), quiet=True)
    assert without_time(alone["history"]) == without_time(inner[1]["history"])


def without_time(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in history]


SEARCH = "search={lr: [1e-3, 1e-2], epochs: 1}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run with a search that nobody disturbs: its folder and result."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(small(folder, SEARCH), quiet=True)


@pytest.mark.parametrize("moment", ["search", "training", "measuring", "leaving"])
def test_an_interrupted_run_goes_on_to_the_undisturbed_result(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder, expected = undisturbed
    interrupt(monkeypatch, moment)
    with pytest.raises(KeyboardInterrupt):
        run(small(tmp_path / "cut", SEARCH), quiet=True)
    assert not (tmp_path / "cut" / "result.json").exists()
    monkeypatch.undo()
    resumed = run(small(tmp_path / "cut", SEARCH), quiet=True)
    assert resumed["metrics"] == expected["metrics"]
    assert without_time(resumed["history"]) == without_time(expected["history"])
    assert read(tmp_path / "cut" / "artifact").tensors == read(folder / "artifact").tensors


def interrupt(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Stop the next run at a moment, as Ctrl-C would."""
    import importlib

    import vpt.training as training

    calls = {"n": 0}

    def stop(after: int, original: Any) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            calls["n"] += 1
            if calls["n"] > after:
                raise KeyboardInterrupt
            return original(*args, **more)

        return wrapper

    if moment == "search":
        monkeypatch.setattr(training, "fit", stop(1, training.fit))
    elif moment == "training":  # two trials of one epoch, then the second epoch of the final training
        fit = importlib.import_module("vpt.training.fit")
        monkeypatch.setattr(fit, "train_epoch", stop(3, fit.train_epoch))
    elif moment == "measuring":
        monkeypatch.setattr(run_module, "evaluate", stop(0, run_module.evaluate))
    else:
        monkeypatch.setattr(training, "write_report", stop(0, training.write_report))


def test_a_broken_image_is_named_before_training(tmp_path: Path, counted: list[dict[str, Any]]) -> None:
    import numpy as np
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((20, 20, 3), 20 * i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    (tmp_path / "pictures" / "dog" / "4.png").write_bytes(b"no image")
    config = small(tmp_path / "run")
    config.data = DataConfig(source="folder", root=tmp_path / "pictures")
    with pytest.raises(DataError, match=r"4\.png"):
        run(config, quiet=True)
    assert counted == []


def test_prompts_can_start_from_the_training_images(tmp_path: Path) -> None:
    result = run(small(tmp_path / "run", "method.options={length: 2, init: kmeans}", "train.epochs=1"), quiet=True)
    assert result["method"]["options"]["init"] == "kmeans"
    assert str(result["method"]["options"]["init_images"]).startswith("<array [40, 3, 16, 16]")
