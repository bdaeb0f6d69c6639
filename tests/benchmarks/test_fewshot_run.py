"""The few-shot suite end to end on a plan that takes a moment: what is drawn, measured, and written; bad input."""

from __future__ import annotations

import importlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fewshot_small import IMAGES, run, step
from small import events, records, results

import vpt
from benchmarks.fewshot import bench
from benchmarks.fewshot.__main__ import SUITE
from benchmarks.fewshot.planning import Asked, make_plan
from benchmarks.suite.folder import Folder
from vpt.data import base_to_new, few_shot_task, harmonic_mean, load_task
from vpt.runs.config import BackboneConfig
from vpt.runs.prepare import prepare_backbone
from vpt.training.config import FitConfig

WHAT = ("--methods", "zero_shot", "coop", "taskres", "--seeds", "1", "2", "--shots", "1", "2")
STAGES = ("--stages", "shots", "base-to-new", "transfer")
FEW = ("--methods", "coop", "taskres", "--seeds", "1", "--shots", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of every stage."""
    out = tmp_path_factory.mktemp("fewshot")
    assert run(out, *WHAT, *STAGES) == 0
    return out


# --- what a run leaves ------------------------------------------------------------------------------------


def test_every_trial_is_a_file_and_every_file_a_trial(whole: Path) -> None:
    plan, found = json.loads((whole / "plan.json").read_text()), records(whole)
    assert set(found) == {trial["id"] for trial in plan["trials"]}
    assert {record["status"] for record in found.values()} == {"done"}
    assert len(found) == 3 + 2 * 2 * (2 + 1 + 1)  # zero_shot once per kind, the others for each seed
    assert not list((whole / "work").iterdir())
    for name in ("index.html", "table.md", "table.csv", "table.tex", "published.csv", "shots.svg"):
        assert (whole / "report" / name).stat().st_size > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_trials_draw_what_the_protocol_says(whole: Path, seed: int) -> None:
    found, task = records(whole), load_task("embedded", None, "digits", **IMAGES)
    base, new = base_to_new(task)
    for name, pool, shots in (("shots-1", task, 1), ("shots-2", task, 2), ("base-to-new-16", base, 16)):
        drawn = few_shot_task(pool, shots, seed, "auto")
        expected = {part: images.digest() for part, images in drawn.sets().items()}
        expected |= {"new": new.test.digest()} if pool is base else {}
        for method in ("coop", "taskres"):
            record = found[f"digits.{method}.{name}.seed-{seed}"]
            assert record["drawn"]["digests"] == expected
            assert record["drawn"]["sizes"]["train"] == shots * len(pool.classes)
            assert record["data"]["digests"] == {"test": task.test.digest()}
            assert (record["history"][-1]["epoch"], record["measured_on"]) == (2, "test")


def test_base_new_and_their_harmonic_mean(whole: Path) -> None:
    found = records(whole)
    for name in ("digits.zero_shot.base-to-new-0.seed-1", "digits.coop.base-to-new-16.seed-2"):
        metrics = found[name]["metrics"]
        assert metrics["harmonic"] == harmonic_mean(metrics["accuracy"], metrics["new_accuracy"])
    unbound = found["digits.taskres.base-to-new-16.seed-1"]
    assert not {"new_accuracy", "harmonic"} & unbound["metrics"].keys()
    assert "belongs to its own 5 classes" in unbound["remarks"][0]


def test_a_base_to_new_trial_is_what_the_library_gives_by_hand(whole: Path) -> None:
    record = records(whole)["digits.coop.base-to-new-16.seed-2"]
    base, new = base_to_new(load_task("embedded", None, "digits", **IMAGES))
    drawn = few_shot_task(base, 16, 2, "auto")
    clip: Any = prepare_backbone(BackboneConfig("embedded-clip", pretrained=False))
    preprocessing = vpt.Preprocessing.of(clip)
    model = vpt.tune(clip, "coop", classnames=list(base.classes), seed=2)
    recipe = {name: record["train"][name] for name in ("optimizer", "lr", "weight_decay", "epochs", "warmup_epochs")}
    settings = FitConfig(**recipe, batch_size=80, decay=["prompts"], seed=2, tensorboard=False)
    vpt.fit(model, vpt.data.ImageDataset(drawn.train, preprocessing), None, settings, quiet=True)
    assert record["metrics"]["accuracy"] == measured(model, base.test, preprocessing)
    assert record["metrics"]["new_accuracy"] == measured(model.rebind(list(new.classes)), new.test, preprocessing)


def measured(model: Any, images: Any, preprocessing: Any) -> float:
    return vpt.evaluate(model, vpt.data.ImageDataset(images, preprocessing)).accuracy


def test_transfer_is_measured_on_the_other_task_by_its_names(whole: Path) -> None:
    found = records(whole)
    count = load_task("embedded", None, "count", **IMAGES)
    for name in ("digits.zero_shot.transfer-0.seed-1", "digits.coop.transfer-16.seed-1"):
        assert 0 <= found[name]["metrics"]["on.count"] <= 1
        assert found[name]["others"]["count"]["digests"]["test"] == count.test.digest()
    clip: Any = prepare_backbone(BackboneConfig("embedded-clip", pretrained=False))
    model = vpt.tune(clip, "zero_shot", classnames=list(count.classes))
    told = found["digits.zero_shot.transfer-0.seed-1"]["metrics"]["on.count"]
    assert told == measured(model, count.test, vpt.Preprocessing.of(clip))


def test_a_frozen_image_tower_sees_every_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from open_clip import CLIP

    original, seen = CLIP.encode_image, list[int]()

    def counted(self: Any, images: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        seen.append(len(images))
        return original(self, images, normalize)

    monkeypatch.setattr(CLIP, "encode_image", counted)
    assert run(tmp_path, *FEW) == 0
    whole_sets = sorted(count for count in seen if count > 1)  # single images show what is needed
    assert whole_sets == [2 * 10, IMAGES["test"]]
    before = len(seen)
    assert run(tmp_path, *FEW[:1], "kgcoop", *FEW[3:]) == 0
    assert set(seen[before:]) == {1}


# --- again, and in pieces ---------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_more_shots_are_added(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()}
    assert run(out, *WHAT, *STAGES) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()} == before
    assert run(out, "--methods", "taskres", "--seeds", "1", "--shots", "3", "--stages", "shots", "transfer") == 0
    assert set(records(out)) - {path.stem for path in before} == {"digits.taskres.shots-3.seed-1"}


def test_interrupted_in_the_middle_of_a_training_it_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module: Any = importlib.import_module("vpt.training.fit")
    original, epochs = module.train_epoch, list[int]()

    def interrupted(learner: Any, train: Any, epoch: int, log: Any) -> Any:
        epochs.append(epoch)
        if len(epochs) == 4:
            raise KeyboardInterrupt
        return original(learner, train, epoch, log)

    monkeypatch.setattr(module, "train_epoch", interrupted)
    what = ("--methods", "coop", "--seeds", "1", "2", "--shots", "1", "2", *STAGES)
    assert run(tmp_path, *what) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(records(tmp_path)) == 1
    assert run(tmp_path, *what) == 0
    assert epochs == [0, 1, 0, 1, 1, *([0, 1] * 6)]  # the epoch that was interrupted, and no other, is done again
    assert results(tmp_path) == {name: r for name, r in results(whole).items() if ".coop." in name}


def test_a_worker_in_another_process_can_make_its_bench(tmp_path: Path) -> None:
    plan = make_plan(Asked("mini"))
    made = pickle.loads(pickle.dumps(SUITE.bench(plan, Folder(tmp_path))))()
    assert isinstance(made, bench.FewShotBench)
    assert (made.settings, made.cache, made.scratch) == (plan.settings, tmp_path / "cache", tmp_path / "work")


# --- mistakes ---------------------------------------------------------------------------------------------


def test_more_shots_than_images_fail_with_the_classes_named_and_stop_no_other_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--methods", "taskres", "--seeds", "1", "--shots", "2", "33") == 1
    found = records(tmp_path)
    assert {name: record["status"] for name, record in found.items()} == {
        "digits.taskres.shots-2.seed-1": "done", "digits.taskres.shots-33.seed-1": "failed",
    }  # fmt: skip
    task = load_task("embedded", None, "digits", **IMAGES)
    counts = {name: int((task.train.labels == c).sum()) for c, name in enumerate(task.classes)}
    reason = found["digits.taskres.shots-33.seed-1"]["reason"]
    assert all((f"{name} ({count})" in reason) == (count < 33) for name, count in counts.items())
    assert reason in capsys.readouterr().err
    assert "digits.taskres.shots-33.seed-1" in (tmp_path / "report" / "index.html").read_text()


def test_a_failure_is_recorded_and_tried_again_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = bench.evaluate

    def broken(model: Any, images: Any, **more: Any) -> Any:
        if model.method == "coop":
            raise RuntimeError("no such luck")
        return original(model, images, **more)

    monkeypatch.setattr(bench, "evaluate", broken)
    assert run(tmp_path, *FEW) == 1
    assert records(tmp_path)["digits.coop.shots-2.seed-1"]["reason"] == "RuntimeError: no such luck"
    monkeypatch.setattr(bench, "evaluate", original)
    assert run(tmp_path, *FEW) == 0
    assert results(tmp_path) == {name: results(whole)[name] for name in results(tmp_path)}
    begun = [name for e in events(tmp_path) if e["event"] == "begun" for name in e["trials"]]
    assert sorted(begun) == ["digits.coop.shots-2.seed-1"] * 2 + ["digits.taskres.shots-2.seed-1"]


@pytest.mark.parametrize(
    ("more", "settings", "told"),
    [
        (("--methods", "coup"), [], "did you mean 'coop'"),
        (("--methods", "coop:context_length=76"), [], "context_length is 76; accepted: 1 to 74"),
        (("--methods", "coop:init=nothing", "kgcoop:weight=-1"), [], "kgcoop-weight=-1: weight is -1"),
        (("--backbone", "embedded"), [], "'coop' learns of class names"),
        (("--backbone", "embedded-clp"), [], "embedded-clip"),
        ((), ["precision=half"], "precision"),
    ],
)
def test_what_cannot_be_stops_before_anything_runs(
    more: tuple[str, ...], settings: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = () if "--methods" in more else ("--methods", "coop")
    assert run(tmp_path, *methods, *more, settings=settings) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "trials").exists()


def test_a_dry_run_counts_and_estimates_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert step("plan", out, "--dry-run", *FEW, "--methods", "clip_vpt") == 0
    told = capsys.readouterr().out
    for words in ("shots-2 trials", "coop, one worker", "clip_vpt, one worker", "image features, one worker", "about"):
        assert words in told
    assert not out.exists()
