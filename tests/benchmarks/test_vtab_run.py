"""The suite end to end on a plan that takes a moment: what is run, what is written, what bad input does."""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import command, events, records, results
from support.vtab_folder import vtab_folder

from benchmarks.suite import bench, folder, schedule
from benchmarks.vtab.__main__ import main
from benchmarks.vtab.planning import ABLATIONS
from vpt.data import load_task


def run(out: Path, *more: str, settings: list[str] | None = None) -> int:
    """`benchmarks.vtab run` in this process, inline; its exit code."""
    return step("run", out, "--executor", "inline", "--quiet", *more, settings=settings)


def step(name: str, out: Path, *more: str, settings: list[str] | None = None) -> int:
    with pytest.raises(SystemExit) as ended:
        main(command(name, out, *more, settings=settings))
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of everything in the mini preset."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == 0
    return out


# --- what a run leaves ------------------------------------------------------------------------------------


def test_every_trial_is_a_file_and_every_file_a_trial(whole: Path) -> None:
    plan = json.loads((whole / "plan.json").read_text())
    found = records(whole)
    assert set(found) == {trial["id"] for trial in plan["trials"]}
    assert {record["status"] for record in found.values()} == {"done"}
    assert not list((whole / "work").iterdir())


def test_final_trials_are_trained_with_what_their_search_chose(whole: Path) -> None:
    found = records(whole)
    for record in found.values():
        if record["trial"]["stage"] != "final":
            continue
        searched = [found[name] for name in record["chosen"]["by"]]
        assert {tuple(s["trial"][k] for k in ("task", "variant", "stage")) for s in searched} == {
            (record["trial"]["task"], record["trial"]["variant"], "search")
        }
        top = max(s["metrics"]["accuracy"] for s in searched)
        rates = [s["trial"]["lr"] for s in searched if s["metrics"]["accuracy"] == top]
        assert record["chosen"]["lr"] == min(rates) == record["train"]["lr"]


def test_stages_have_their_images_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, str]] = set()
    fit, evaluate, sweep = bench.fit, bench.evaluate, bench.probe.sweep

    def fitted(model: Any, train: Any, *rest: Any, **more: Any) -> Any:
        model.trained_on = train.images.digest()
        return fit(model, train, *rest, **more)

    def evaluated(model: Any, judged: Any, **more: Any) -> Any:
        seen.add((model.trained_on, judged.images.digest()))
        return evaluate(model, judged, **more)

    def swept(model: Any, train: Any, judged: Any, *rest: Any, **more: Any) -> Any:
        seen.add((train.images.digest(), judged.images.digest()))
        return sweep(model, train, judged, *rest, **more)

    monkeypatch.setattr(bench, "fit", fitted)
    monkeypatch.setattr(bench, "evaluate", evaluated)
    monkeypatch.setattr(bench.probe, "sweep", swept)
    assert run(tmp_path, "--tasks", "digits", "--methods", "deep", "linear") == 0
    task = load_task("embedded", None, "digits", train=40, val=20, test=30)
    train, val, test = (getattr(task, part).digest() for part in ("train", "val", "test"))
    assert seen == {(train, val), (task.trainval.digest(), test)}
    for record in records(tmp_path).values():
        search = record["trial"]["stage"] == "search"
        assert record["measured_on"] == ("val" if search else "test")
        assert record["history"][-1]["epoch"] == (2 if search else 3)


def test_a_record_says_all_that_a_result_depends_on(whole: Path) -> None:
    for record in records(whole).values():
        assert record["data"]["route"] == "embedded"
        assert record["data"]["sizes"] == {"train": 40, "val": 20, "test": 30}
        assert set(record["data"]["digests"]) >= {"train", "val", "test"}
        assert record["preprocessing"]["size"] == [16, 16]
        assert record["backbone"]["fingerprint"]
        assert {"torch", "timm", "vpt"} <= set(record["versions"])
        assert record["cost"]["peak_memory"] > 2**20
        assert record["cost"]["seconds"] > 0
        if record["trial"]["method"] != "linear":
            assert len(record["cost"]["seconds_per_epoch"]) == len(record["history"])


def test_trained_parameters_are_those_of_the_method(whole: Path) -> None:
    by_variant = {
        r["trial"]["variant"]: r["parameters"] for r in records(whole).values() if r["trial"]["task"] == "digits"
    }
    head = 128 * 10 + 10
    assert by_variant["linear"]["trained"] == by_variant["linear"]["head"] == head
    assert by_variant["shallow"]["prompts"] == 10 * 128
    assert by_variant["deep"]["trained"] == head + 6 * 10 * 128
    assert by_variant["full"]["trained"] == by_variant["full"]["all"]


def test_the_report_is_there(whole: Path) -> None:
    for name in ("index.html", "table.md", "table.csv", "table.tex"):
        assert (whole / "report" / name).stat().st_size > 0
    assert "deep" in (whole / "report" / "table.md").read_text()


def test_a_second_run_does_nothing(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "trials").iterdir()}
    assert run(whole) == 0
    assert {path: path.stat().st_mtime_ns for path in (whole / "trials").iterdir()} == before
    assert events(whole)[-1]["event"] == "run"


def test_a_dry_run_and_a_plan_count_and_train_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert step("plan", tmp_path / "dry", "--dry-run") == 0
    assert not (tmp_path / "dry").exists()
    shown = capsys.readouterr().out
    assert "search trials" in shown
    assert "16" in shown
    assert "about" in shown
    assert step("plan", tmp_path / "wet") == 0
    assert [path.name for path in (tmp_path / "wet").glob("*.json")] == ["plan.json"]


def test_a_subset_is_run_and_the_rest_later(whole: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "--tasks", "digits", "--methods", "deep") == 0
    assert {r["trial"]["task"] for r in records(tmp_path).values()} == {"digits"}
    assert run(tmp_path, "--tasks", "digits", "--methods", "deep", "linear") == 0
    expected = {k: r for k, r in results(whole).items() if k.startswith(("digits.deep", "digits.linear"))}
    assert results(tmp_path) == expected
    done = Counter(name for event in events(tmp_path) if event["event"] == "done" for name in event["trials"])
    assert set(done.values()) == {1}


# --- less work, same results ------------------------------------------------------------------------------


def test_an_image_is_decoded_once_per_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = vtab_folder(tmp_path / "data", "dtd", sizes=(8, 4, 6))
    decoded: Counter[str] = Counter()
    from vpt.data import decode as module

    plain = module._decode

    def counted(file: Any, name: str, *rest: Any) -> Any:
        decoded[name] += 1
        return plain(file, name, *rest)

    monkeypatch.setattr(module, "_decode", counted)
    assert run(tmp_path / "out", *FOLDER, str(root), "--methods", "linear", "deep", "full") == 0
    assert len(records(tmp_path / "out")) == 3 * 4
    images = {name: count for name, count in decoded.items() if name.endswith(".png")}
    assert len(images) == 8 + 4 + 6
    assert set(images.values()) == {1}


def test_linear_probes_together_are_those_trained_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "TOGETHER", ())
    assert run(tmp_path, "--tasks", "digits", "--methods", "linear") == 0
    together = {k: r for k, r in results(whole).items() if k.startswith("digits.linear")}
    alone = results(tmp_path)
    assert alone.keys() == together.keys()
    for name, record in alone.items():
        assert record["metrics"] == pytest.approx(together[name]["metrics"], abs=1e-9)
        assert record["chosen"] == together[name]["chosen"]
        losses = [[row["train_loss"] for row in r["history"]] for r in (record, together[name])]
        assert losses[0] == pytest.approx(losses[1], rel=5e-3)  # float32, at large rates
    shared = {r["cost"]["together"] for r in records(whole).values() if r["trial"]["method"] == "linear"}
    assert shared == {2}


# --- failures ---------------------------------------------------------------------------------------------


def test_a_failure_is_recorded_and_tried_again_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = bench.fit

    def broken(model: Any, train: Any, val: Any, config: Any, **more: Any) -> Any:
        if config.lr == 3e-2 and model.method == "deep":
            raise RuntimeError("the machine is on fire")
        return original(model, train, val, config, **more)

    monkeypatch.setattr(bench, "fit", broken)
    chosen = ("--tasks", "digits", "--methods", "deep", "shallow")
    assert run(tmp_path, *chosen) == 1
    told = capsys.readouterr()
    assert "the machine is on fire" in told.err
    assert "2 trials wait for search trials that failed" in told.err
    found = records(tmp_path)
    (failed,) = [name for name, record in found.items() if record["status"] == "failed"]
    assert "RuntimeError: the machine is on fire" in found[failed]["traceback"]
    assert sum(r["status"] == "done" for r in found.values()) == 1 + 4
    page = (tmp_path / "report" / "index.html").read_text()
    assert "the machine is on fire" in page
    monkeypatch.setattr(bench, "fit", original)
    assert run(tmp_path, *chosen) == 0
    assert results(tmp_path) == {k: r for k, r in results(whole).items() if k.startswith(("digits.deep", "digits.sh"))}
    ended = Counter(n for e in events(tmp_path) if e["event"] in ("done", "failed") for n in e["trials"])
    assert ended.pop(failed) == 2
    assert set(ended.values()) == {1}


def test_what_diverges_is_a_result_and_never_chosen(tmp_path: Path) -> None:
    settings = ["recipes.default.lr=[1e-2,1e30]", "recipes.default.optimizer=sgd"]
    chosen = ("--tasks", "digits", "--methods", "linear", "shallow")
    assert run(tmp_path, *chosen, settings=settings) == 0
    found = records(tmp_path)
    diverged = {name for name, record in found.items() if record["status"] == "diverged"}
    assert diverged == {f"digits.{v}.search.lr-1e+30-wd-0.0001" for v in ("linear", "shallow")}
    assert all("not finite" in found[name]["reason"] or "NaN" in found[name]["reason"] for name in diverged)
    assert {r["chosen"]["lr"] for r in found.values() if r["trial"]["stage"] == "final"} == {1e-2}
    before = len(events(tmp_path))
    assert run(tmp_path, *chosen, settings=settings) == 0
    assert [e["event"] for e in events(tmp_path)[before:]] == ["run"]


def test_a_damaged_record_is_put_aside_until_it_is_made_again(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    path = out / "trials" / "digits.deep.final.seed-42.json"
    path.write_bytes(path.read_bytes()[:100])
    assert step("plan", out, "--dry-run") == 0  # which touches nothing
    assert path.exists()
    assert folder.Folder(out).read(path.stem, repair=True) is None
    assert path.with_suffix(".damaged").exists()
    assert run(out) == 0
    assert results(out) == results(whole)
    assert not path.with_suffix(".damaged").exists()


def test_a_full_disk_stops_the_run_and_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original: Callable[..., None] = folder.write_atomically
    written = []

    def fills_up(path: Path, content: Any) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        original(path, content)

    monkeypatch.setattr(folder, "write_atomically", fills_up)
    assert run(tmp_path, "--tasks", "digits") == 1
    told = capsys.readouterr().err
    assert f"the disk of {tmp_path} is full" in told
    assert len(records(tmp_path)) == 3
    monkeypatch.setattr(folder, "write_atomically", original)
    assert run(tmp_path, "--tasks", "digits") == 0
    assert results(tmp_path) == {k: r for k, r in results(whole).items() if k.startswith("digits")}


def test_two_runs_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with folder.Folder(tmp_path).locked():
        assert run(tmp_path) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


# --- images and backbones that cannot be used -------------------------------------------------------------

FOLDER = ("--source", "folder", "--own-splits", "--tasks", "dtd", "--data")


def refused(out: Path, capsys: pytest.CaptureFixture[str], *more: str, settings: list[str] | None = None) -> str:
    """What a run that cannot be is told, whatever trials it recorded as failed."""
    assert run(out, *more, "--methods", "linear", settings=settings) in (1, 2)
    assert not [r for r in records(out).values() if r["status"] == "done"]
    return capsys.readouterr().err


def test_a_missing_task_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = vtab_folder(tmp_path / "data", "cifar")
    told = refused(tmp_path / "out", capsys, *FOLDER, str(root))
    assert "no task 'dtd'" in told
    assert "cifar" in told


def test_a_label_outside_the_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = vtab_folder(tmp_path / "data", "dtd", label=47)
    told = refused(tmp_path / "out", capsys, *FOLDER, str(root))
    assert "0 .. 46" in told
    assert "47" in told


def test_a_wrong_count_is_refused_unless_it_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = vtab_folder(tmp_path / "data", "dtd")
    own = [word for word in FOLDER if word != "--own-splits"]
    told = refused(tmp_path / "out", capsys, *own, str(root))
    assert "not VTAB-1K's" in told
    assert "1880" in str(records(tmp_path / "out"))
    assert "--own-splits" in str(records(tmp_path / "out"))
    assert run(tmp_path / "other", *FOLDER, str(root), "--methods", "linear") == 0
    for record in records(tmp_path / "other").values():
        assert any("1880" in line for line in record["data"]["deviations"])


def test_a_truncated_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = vtab_folder(tmp_path / "data", "dtd")
    path = root / "dtd" / "images" / "test-2.png"
    path.write_bytes(path.read_bytes()[:-200])
    refused(tmp_path / "out", capsys, *FOLDER, str(root))
    assert all(str(path) in record["traceback"] for record in records(tmp_path / "out").values())


def test_one_bad_task_does_not_stop_the_others(tmp_path: Path) -> None:
    root = vtab_folder(vtab_folder(tmp_path / "data", "dtd"), "cifar")
    path = root / "dtd" / "images" / "test-2.png"
    path.write_bytes(path.read_bytes()[:-200])
    both = ("--source", "folder", "--own-splits", "--data", str(root), "--tasks", "dtd", "cifar")
    assert run(tmp_path / "out", *both, "--methods", "linear") == 1
    found = {task: {r["status"] for r in records(tmp_path / "out").values() if r["trial"]["task"] == task}
             for task in ("dtd", "cifar")}  # fmt: skip
    assert found == {"dtd": {"failed"}, "cifar": {"done"}}


def test_weights_of_another_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import safetensors.torch
    import timm

    other = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)
    safetensors.torch.save_file(other.state_dict(), tmp_path / "other.safetensors")
    settings = ["backbone.image_size=16", "backbone.pretrained=true"]
    told = refused(tmp_path / "out", capsys, "--checkpoint", str(tmp_path / "other.safetensors"), settings=settings)
    assert "other.safetensors" in told
    assert not (tmp_path / "out" / "trials").exists()


def test_options_that_the_backbone_does_not_take_stop_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--methods", "deep:layers=first:9", "partial:blocks=7", "linear") == 2
    told = capsys.readouterr().err
    assert "6 blocks" in told
    assert "1 to 6" in told
    assert not (tmp_path / "trials").exists()


# --- ablations --------------------------------------------------------------------------------------------

SIX_BLOCKS = {"depth": ["first-1", "first-6", "last-1"], "length": ["deep-0", "deep-1", "deep-50"]}
"""Rows for the embedded backbone: all of them, but for those that need a larger one or a while."""


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_is_one_command_and_one_chart(ablation: str, tmp_path: Path) -> None:
    chosen = SIX_BLOCKS.get(ablation, [])
    settings = ["recipes.default.lr=[1e-2]", "epochs=1", "search_epochs=null"]
    settings += ["backbone.image_size=48"] if ablation == "placement" else []  # room for the frame
    rows = ["--methods", *chosen] if chosen else []
    what = ("--ablation", ablation, "--tasks", "digits", "--seeds", "0", "1", *rows)
    assert run(tmp_path, *what, settings=settings) == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {r["status"] for r in records(tmp_path).values()} == {"done"}
    assert len(records(tmp_path)) == 2 * len(plan["variants"])
    assert (tmp_path / "report" / "ablation.svg").exists()
    page = (tmp_path / "report" / "index.html").read_text()
    assert plan["ablation"]["title"] in page
    assert plan["ablation"]["axis"] in page
