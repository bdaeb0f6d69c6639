"""A save that is killed or fails at any step leaves the earlier task or the new one, whole."""

from __future__ import annotations

import builtins
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import is_artifact, load, save
from vpt.artifacts.files import LOCK
from vpt.artifacts.schema import CARD, CONFIG, NEXT, TENSORS
from vpt.errors import ArtifactError
from vpt.methods import Tuned, tune

STEPS = [(builtins, "open"), *((os, name) for name in ("fsync", "replace", "open", "unlink", "mkdir"))]


def backbone() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0)


def task(seed: int) -> Tuned:
    """Of the same sizes for all seeds, so that the tensors of one would fit the configuration of another."""
    return tune(backbone(), "deep", num_classes=2, length=1, seed=seed).eval()


def which(folder: Path) -> int:
    """The seed of the task in the folder, by what its configuration says and by what it holds."""
    found = load(backbone(), folder)
    seed: int = found.options["seed"]
    assert torch.equal(found.prompts.tokens, task(seed).prompts.tokens)
    return seed


def save_and_die(model: Tuned, folder: Path, last: int) -> int:
    """The status of a process that is killed at its step `last` of a save; 0 where the save has fewer."""
    if process := os.fork():
        return os.waitpid(process, 0)[1]
    done = 0

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **more: object) -> object:
            nonlocal done
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)

        return step

    status = 1
    try:
        for module, name in STEPS:
            setattr(module, name, counted(getattr(module, name)))
        save(model, folder)
        status = 0
    finally:
        os._exit(status)


def killed_everywhere(before: Path | None, model: Tuned, place: Path) -> list[Path]:
    """Copies of the folder `before`, or empty places, after a save that was killed at each step; the last was not."""
    folders = []
    for last in range(1, 1000):
        folders.append(place / str(last))
        if before is not None:
            shutil.copytree(before, folders[-1])
        if save_and_die(model, folders[-1], last) == 0:
            return folders
    raise AssertionError("no save came to its end")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("over", ["a task", "nothing", "what a killed save left"])
def test_a_killed_save_leaves_a_whole_task(tmp_path: Path, over: str) -> None:
    old, model = (0 if over == "nothing" else 1), task(3)
    before = save(task(1), tmp_path / "before") if old else None
    if over == "what a killed save left":  # after its configuration had come, before its tensors had
        killed = save(task(2), tmp_path / "killed")
        shutil.copy(killed / TENSORS, tmp_path / "before" / NEXT)
        shutil.copy(killed / CONFIG, tmp_path / "before")
        old = 2
    folders = killed_everywhere(before, model, tmp_path / "killed at")
    assert len(folders) > 15
    seen = [which(folder) if is_artifact(folder) else 0 for folder in folders]
    commit = seen.index(3)
    assert seen == [old] * commit + [3] * (len(seen) - commit)
    for folder in folders[commit - 2 : commit + 2]:
        save(model, folder)
        assert which(folder) == 3
        assert {path.name for path in folder.iterdir()} == {CONFIG, TENSORS, CARD}, "nothing is left of the killed one"


def test_what_is_not_of_a_save_is_left_alone(tmp_path: Path) -> None:
    for name in ("notes.tmp", f"{CARD}.draft.tmp", LOCK):
        (tmp_path / name).touch()
    save(task(1), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, TENSORS, CARD, "notes.tmp", f"{CARD}.draft.tmp"}


@pytest.mark.parametrize("step", range(4))
def test_a_save_that_fails_leaves_a_whole_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    replace, done = os.replace, []

    def failing(a: str, b: str) -> None:
        if len(done) == step:
            raise OSError("power cut")
        done.append(b)
        replace(a, b)

    save(task(1), tmp_path)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="power cut"):
        save(task(2), tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.tmp"))
    assert which(tmp_path) == (1 if step < 2 else 2)


def test_tensors_left_by_another_save_are_not_taken_for_the_tasks_own(tmp_path: Path) -> None:
    save(task(2), tmp_path / "new")
    save(task(1), tmp_path / "old")
    (tmp_path / "old" / NEXT).write_bytes((tmp_path / "new" / TENSORS).read_bytes())
    assert which(tmp_path / "old") == 1
    (tmp_path / "old" / TENSORS).write_bytes(b"")
    with pytest.raises(ArtifactError, match=f"{TENSORS} is damaged: it has 0 bytes"):
        which(tmp_path / "old")
