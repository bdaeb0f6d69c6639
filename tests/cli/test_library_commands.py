"""`vpt library`: what it prints, what it leaves, how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vpt.artifacts import read, save
from vpt.artifacts.library import Library
from vpt.artifacts.library.store import LocalStore
from vpt.cli.main import app, main
from vpt.methods import tune
from vpt.runs.config import BackboneConfig
from vpt.runs.prepare import prepare_backbone

DIGITS = ["--data", "digits", "--option", "train=40", "--option", "val=20", "--option", "test=30"]


@pytest.fixture(autouse=True)
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that the commands find in their environment."""
    monkeypatch.setenv("VPT_LIBRARY", str(tmp_path / "tasks"))
    return tmp_path / "tasks"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A second task on the same digits, untrained, that says of itself what a run of one epoch would."""
    manifest = read(finished / "artifact")
    backbone = prepare_backbone(BackboneConfig("embedded", image_size=16, pretrained=False))
    model = tune(backbone, "deep", length=1, num_classes=10)
    told = {**manifest.provenance, "train": {**manifest.part("train"), "epochs": 1}}
    return save(model, tmp_path_factory.mktemp("second") / "task", classes=manifest.classes, provenance=told)


@pytest.fixture
def two(url: Path, finished: Path, second: Path) -> Library:
    """Two drafts of one task."""
    library = Library(url)
    library.add(finished / "artifact", "digits", why="first", by="ann")
    library.add(second, "digits", why="shorter", by="bob")
    return library


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["library", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["library", *map(str, arguments)])
    return int(caught.value.code or 0), capsys.readouterr().err


def test_from_a_run_to_what_is_served_and_back(url: Path, finished: Path, second: Path) -> None:
    for folder, why, by in ((finished, "first", "ann"), (second, "shorter", "bob")):
        output("add", folder, "--task", "digits", "--why", why, "--by", by)
    assert output("approve", "digits", "1") == "digits 1: current\n"
    assert output("approve", "digits", "--why", "smaller") == "digits 2: current\n"
    assert "digits 1: current" in output("rollback", "digits", "--why", "worse")
    assert output("retire", "digits", "1", "--why", "old") == "digits 1: retired\n"
    assert Library(url).current("digits") is None
    told = output("log", "digits")
    for part in ("ann", "bob", "shorter", "smaller", "back to 1", "nothing was checked"):
        assert part in told
    assert [entry["action"] for entry in json.loads(output("log", "--json"))] == [
        "add", "add", "approve", "approve", "rollback", "retire",
    ]  # fmt: skip


def test_versions_are_listed_and_shown(two: Library, finished: Path) -> None:
    two.approve("digits", 1)
    listed = output("list")
    assert "current" in listed
    assert "draft" in listed
    assert [v["current"] for v in json.loads(output("list", "--json"))] == [True, False]
    accuracy = json.loads((finished / "result.json").read_text())["metrics"]["accuracy"]
    shown, fingerprint = output("show", "digits"), two.version("digits", 1).fingerprint
    for part in ("digits 1", "embedded", f"{accuracy:.4f}", fingerprint, "first", "none"):
        assert part in shown
    assert [e["action"] for e in json.loads(output("show", "digits", "1", "--json"))["history"]] == ["add", "approve"]
    assert "shorter" in output("show", "digits", "2")
    two.approve("digits", 2)
    two.rollback("digits", why="worse on Mondays")
    for number in ("1", "2"):  # that which came back, and that which went
        assert "worse on Mondays" in output("show", "digits", number)


def test_versions_are_listed_from_one_look_at_the_log(two: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, listed = [], LocalStore.listed
    monkeypatch.setattr(LocalStore, "listed", lambda store, folder: looks.append(folder) or listed(store, folder))
    output("list")
    assert looks == ["log"]


def test_the_same_files_are_said_to_be_there(two: Library, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(app, ["library", "add", str(finished), "--task", "digits"])
    assert "has these very files already, as digits 1 (draft)" in result.stderr
    assert two.head() == 2


def test_versions_are_compared(two: Library) -> None:
    found = {d["name"]: d for d in json.loads(output("diff", "digits", "1", "2", "--json"))}
    assert (found["options.length"]["a"], found["options.length"]["b"]) == (2, 1)
    assert found["tensors.backbone.head.weight"]["distance"] > 0
    assert "options.length" in output("diff", "digits", "1", "2")
    assert "do not differ" in output("diff", "digits", "1", "1")


def test_a_gate_stands_before_approval(two: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert output("gate", "digits", "accuracy>=1.0", *DIGITS, "--not-worse", "0.1") == "digits: gate set on 30 images\n"
    assert "accuracy >= 1, none more than 0.1 below" in output("show", "digits")
    code, told = failure(capsys, "approve", "digits", "1")
    assert code == 2
    assert "digits 1 is not approved: accuracy is 0." in told
    assert failure(capsys, "approve", "digits", "1", "--force")[0] == 2
    assert output("approve", "digits", "1", "--force", "--why", "the fair") == "digits 1: current\n"
    assert "forced, failed: accuracy is 0." in output("log", "digits")
    output("gate", "digits", "accuracy>=0", *DIGITS)
    output("approve", "digits", "2")
    assert "passed: accuracy" in output("log", "digits")
    assert output("gate", "digits", "--remove") == "digits: no gate\n"
    assert two.gate("digits") is None


def test_a_whole_library_is_verified_and_a_damaged_one_fails(two: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert "whole, 2 entries, 2 versions" in output("verify")
    (Path(two.url) / "versions" / "stray").touch()
    result = CliRunner().invoke(app, ["library", "verify", "--clean"])
    assert result.exit_code == 0
    assert "versions/stray" in result.stderr
    assert "0 deleted, 1 kept" in result.stderr
    (two.open("digits", 2) / "README.md").write_text("other")
    (two.open("digits", 1) / "vpt_model.safetensors").unlink()
    code, told = failure(capsys, "verify")
    assert code == 1
    assert "2 faults" in told
    assert "README.md is damaged" in told
    assert "vpt_model.safetensors is missing" in told


def test_what_belongs_to_another_backbone_is_found_and_trained_anew(two: Library, tmp_path: Path) -> None:
    target = ["--backbone", "embedded", "--image-size", "16"]
    assert "the frozen tensors" in output("stale", *target)
    assert [one["number"] for one in json.loads(output("stale", *target, "--json"))] == [1, 2]
    two.approve("digits", 2)
    again = ["retrain", *target, "--out", str(tmp_path / "out"), "-q"]
    assert output(*again) == output(*again) == "digits 3: draft\n"
    assert two.version("digits", 3).origin == 2
    assert "retrained from 2" in output("log", "digits")
    two.approve("digits", 3)
    assert output(*again) == "no task is bound to another backbone than embedded\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "digit"], 2, "did you mean 'digits'"),
        (["approve", "digits", "7"], 2, "no version 7"),
        (["gate", "digits", "accuracy>=0.5"], 2, "--data is missing"),
        (["gate", "digits", "accuracy>=0.5", "--data", "digitz"], 2, "did you mean 'digits'"),
        (["gate", "digits", "--remove", "accuracy>=0.5"], 2, "--remove takes no requirements"),
        (["add", "nowhere", "--task", "x"], 2, "is not a run or an artefact"),
        (["list", "--library", "empty"], 1, "is no library"),
        (["list", "--library", "nope://x"], 2, "Protocol not known"),
    ],
)
def test_mistakes_are_explained(
    two: Library, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, told = failure(capsys, *arguments)
    assert (found, said in told) == (code, True), told


def test_all_drafts_used_up_is_said(two: Library, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        two.approve("digits", number)
    assert "has no draft" in failure(capsys, "approve", "digits")[1]
