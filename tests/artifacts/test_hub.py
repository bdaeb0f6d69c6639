"""Tasks go to the hub and come back by commit, against a stand-in for the hub on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from support.hub_stand_in import TOKEN, Hub, hub_stand_in
from timm.models.vision_transformer import VisionTransformer
from typer.testing import CliRunner

from vpt.artifacts import load, pull, push, read, save
from vpt.artifacts.hub import resolve
from vpt.artifacts.schema import CARD, CONFIG, NEXT, TENSORS
from vpt.cli.main import app, main
from vpt.errors import ArtifactError, OptionError, WeightsUnavailable
from vpt.methods import tune

FILES = {CONFIG, TENSORS, CARD}
TASK = "somebody/digits"


def backbone() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0)


def saved(folder: Path, length: int = 1) -> Path:
    return save(tune(backbone(), "deep", num_classes=2, length=length), folder, licence="MIT")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, an empty cache, the token that may write, and no waiting between tries."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in has no such storage
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with hub_stand_in() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def test_a_task_comes_back_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    folder = saved(tmp_path / "task")
    commit = push(folder, TASK)
    assert hub.files(TASK).keys() == FILES | {".gitattributes"}
    assert hub.repositories[TASK].private
    hub.asked.clear()
    found = pull(TASK, revision=commit)
    assert found.name == commit
    assert {path.name for path in found.iterdir()} == FILES
    assert all((found / name).read_bytes() == (folder / name).read_bytes() for name in FILES)
    assert load(backbone(), found).options["length"] == 1
    assert not [asked for asked in hub.asked if "gitattributes" in asked]


def test_an_earlier_commit_is_what_it_was(hub: Hub, tmp_path: Path) -> None:
    first = push(saved(tmp_path / "task", 1), TASK)
    second = push(saved(tmp_path / "task", 2), TASK)
    out = pull(TASK, revision=second, folder=tmp_path / "out")
    assert out == tmp_path / "out"
    assert read(out).options["length"] == 2
    assert {path.name for path in out.iterdir()} == FILES
    assert read(pull(TASK, revision=first, folder=out)).options["length"] == 1
    assert {path.name for path in out.iterdir()} == FILES


def test_main_is_resolved_and_told(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    commit = push(saved(tmp_path / "task"), TASK)
    with caplog.at_level(logging.INFO, "vpt"):
        assert pull(TASK).name == commit == resolve(TASK, "main")
    assert f"{TASK}: main, by default, is commit {commit}" in caplog.text


def test_a_branch_is_made_and_stands_apart(hub: Hub, tmp_path: Path) -> None:
    push(saved(tmp_path / "task", 1), TASK)
    trial = push(saved(tmp_path / "task", 2), TASK, branch="trial", message="longer prompts")
    assert read(pull(TASK)).options["length"] == 1
    assert pull(TASK, revision="trial").name == trial
    assert read(pull(TASK, revision="trial")).options["length"] == 2
    push(saved(tmp_path / "task", 3), TASK, branch="trial")
    assert read(pull(TASK, revision="trial")).options["length"] == 3


def test_a_public_one_needs_no_token_and_a_private_one_does(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "task")
    commits = {name: push(folder, name, private=name == "somebody/secret") for name in (TASK, "somebody/secret")}
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert pull(TASK, revision=commits[TASK]).is_dir()
    for revision in (None, commits["somebody/secret"]):
        with pytest.raises(ArtifactError, match="somebody/secret does not exist, or is private: log in"):
            pull("somebody/secret", revision=revision)
    with pytest.raises(ArtifactError, match=r"does not permit it \(40[13]\): log in") as caught:
        push(folder, "somebody/new")
    assert "hf_wrong" not in str(caught.value)
    assert pull("somebody/secret", token=TOKEN).is_dir()


def test_what_was_had_needs_no_network(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = push(saved(tmp_path / "task"), TASK)
    pull(TASK, revision=commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    assert pull(TASK, revision=commit).name == commit
    for revision, said in ((None, TASK), ("main", "revision main"), ("0" * 40, "revision 000")):
        with pytest.raises(WeightsUnavailable, match=f"{said}.* is out of reach: HF_HUB_OFFLINE is set"):
            pull(TASK, revision=revision)
    with pytest.raises(WeightsUnavailable, match="HF_HUB_OFFLINE is set"):
        push(tmp_path / "task", TASK)
    assert not hub.asked
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnavailable, match=r"127\.0\.0\.1:9 does not answer"):
        pull(TASK)


@pytest.mark.parametrize("revision", ["trail", "0" * 40])
def test_an_unknown_revision_is_named(hub: Hub, tmp_path: Path, revision: str) -> None:
    push(saved(tmp_path / "task"), TASK)
    with pytest.raises(ArtifactError, match=f"{TASK} has no revision '{revision}'"):
        pull(TASK, revision=revision)


def test_what_holds_no_task_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="somebody/else does not exist"):
        pull("somebody/else")
    with pytest.raises(OptionError, match="accepted: OWNER/NAME"):
        pull("not//a name")
    with pytest.raises(OptionError, match="accepted: OWNER/NAME"):
        pull("not//a name", revision="0" * 40)
    push(saved(tmp_path / "task"), TASK)
    del hub.files(TASK)[TENSORS]
    with pytest.raises(ArtifactError, match="holds no task of vpt"):
        pull(TASK)


def test_what_arrives_damaged_is_refused_and_replaces_nothing(hub: Hub, tmp_path: Path) -> None:
    push(saved(tmp_path / "task", 1), TASK)
    content = bytearray(hub.files(TASK)[TENSORS])
    content[-1] ^= 1
    hub.files(TASK)[TENSORS] = bytes(content)
    out = saved(tmp_path / "out", 3)
    with pytest.raises(ArtifactError, match="is damaged"):
        pull(TASK, folder=out)
    assert read(out).options["length"] == 3


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_what_is_damaged_in_the_cache_is_fetched_again(
    hub: Hub, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = push(saved(tmp_path / "task"), TASK)
    rotten = (pull(TASK, revision=commit) / name).resolve()
    content = rotten.read_bytes()
    rotten.write_bytes(content[:-2])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="HF_HUB_OFFLINE is set"):
        pull(TASK, revision=commit)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert (pull(TASK, revision=commit) / name).read_bytes() == content
    hub.asked.clear()
    assert load(backbone(), pull(TASK, revision=commit)).options["length"] == 1
    assert not hub.asked


def test_places_that_cannot_be_written_are_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = push(saved(tmp_path / "task"), TASK)
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="file' is a file; a task is saved into a folder"):
        pull(TASK, revision=commit, folder=tmp_path / "file")
    with pytest.raises(ArtifactError, match=r"below' cannot be written: .*Not a directory"):
        pull(TASK, revision=commit, folder=tmp_path / "file" / "below")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ArtifactError, match=r"cannot be cached: .*Not a directory.*HF_HOME names another place"):
        pull(TASK, revision=commit)


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        (f"GET /api/models/{TASK}", 500),
        (f"HEAD /{TASK}/resolve", 500),
        (f"GET /{TASK}/resolve", 503),
        (f"GET /{TASK}/resolve", "short"),
    ],
)
def test_a_hub_that_fails_is_named_and_nothing_is_kept_of_it(
    hub: Hub, tmp_path: Path, start: str, fault: int | str
) -> None:
    commit = push(saved(tmp_path / "task"), TASK)
    hub.faults[start] = fault
    with pytest.raises(WeightsUnavailable, match=TASK):
        pull(TASK, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    hub.faults.clear()
    assert pull(TASK).name == commit


@pytest.mark.parametrize(
    ("start", "fault", "error"),
    [
        ("POST /api/repos/create", 500, WeightsUnavailable),
        ("POST /api/repos/create", 403, ArtifactError),
        (f"POST /{TASK}.git/info/lfs", 500, WeightsUnavailable),
        ("PUT /objects", 503, WeightsUnavailable),
        (f"POST /api/models/{TASK}/commit", 412, ArtifactError),
        (f"POST /api/models/{TASK}/commit", 500, WeightsUnavailable),
    ],
)
def test_a_push_that_fails_says_so_and_leaves_no_half(
    hub: Hub, tmp_path: Path, start: str, fault: int, error: type[Exception]
) -> None:
    hub.faults[start] = fault
    with pytest.raises(error, match=TASK):
        push(saved(tmp_path / "task"), TASK)
    assert TASK not in hub.repositories or TENSORS not in hub.files(TASK)


def test_a_damaged_task_is_not_sent(hub: Hub, tmp_path: Path) -> None:
    folder = saved(tmp_path / "task")
    (folder / TENSORS).write_bytes(b"")
    with pytest.raises(ArtifactError, match="is damaged"):
        push(folder, TASK)
    with pytest.raises(ArtifactError, match="is not a saved task"):
        push(tmp_path / "nothing", TASK)
    assert not hub.asked


def test_a_task_of_an_interrupted_save_is_sent_whole(hub: Hub, tmp_path: Path) -> None:
    folder = saved(tmp_path / "task", 2)
    (folder / TENSORS).rename(folder / NEXT)
    (folder / TENSORS).write_bytes((saved(tmp_path / "old", 1) / TENSORS).read_bytes())
    (folder / CARD).unlink()
    found = pull(TASK, revision=push(folder, TASK))
    assert load(backbone(), found).options["length"] == 2
    assert "`deep`" in (found / CARD).read_text()


def test_the_commands(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "run" / "artifact").parent
    pushed = CliRunner().invoke(app, ["push", str(folder), TASK, "--public"], catch_exceptions=False)
    commit = pushed.stdout.strip()
    assert commit == hub.repositories[TASK].branches["main"]
    assert not hub.repositories[TASK].private
    out = tmp_path / "out"
    pulled = CliRunner().invoke(app, ["pull", TASK, "--revision", commit, "--out", str(out)], catch_exceptions=False)
    assert pulled.stdout.strip() == str(out)
    assert load(backbone(), out).options["length"] == 1
    with pytest.raises(SystemExit) as caught:
        main(["pull", "somebody/else"])
    assert caught.value.code == 1
    assert "error: somebody/else does not exist, or is private" in capsys.readouterr().err
