"""A save that is killed or fails at any step leaves the earlier task or the new one, whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import is_artifact, load, save
from vpt.artifacts.schema import NEXT, TENSORS
from vpt.errors import ArtifactError
from vpt.methods import Tuned, tune

IMAGES = torch.ones(2, 3, 16, 16)
KILLED = """
import sys; sys.path[:0] = {paths}
import builtins, os, pathlib, signal, torch
from test_kill import old, new, save
torch.set_num_threads(1)
models = {{"old": old(), "new": new()}}
STEPS = [(builtins, "open"), (os, "fsync"), (os, "replace"), (os, "open"), (os, "unlink"), (os, "mkdir")]

def child(folder, last):
    done = 0
    def counted(original):
        def step(*arguments, **more):
            nonlocal done
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)
        return step
    for module, name in STEPS:
        setattr(module, name, counted(getattr(module, name)))
    save(models["new"], folder)
    os._exit(0)

for over in (True, False):
    for last in range(1, 1000):
        folder = pathlib.Path("{folder}") / str(over) / str(last)
        if over:
            save(models["old"], folder)
        pid = os.fork()
        if pid == 0:
            child(folder, last)
        if os.waitpid(pid, 0)[1] == 0:
            break
"""


def backbone() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0)


def old() -> Tuned:
    return tune(backbone(), "deep", num_classes=2, length=1, seed=1).eval()


def new() -> Tuned:
    """Of the same sizes, so that the tensors of one would fit the configuration of the other."""
    return tune(backbone(), "deep", num_classes=2, length=1, seed=2).eval()


def which(folder: Path) -> str:
    """The task in the folder by what it computes, and what its configuration says."""
    found = load(backbone(), folder)
    told = {1: "old", 2: "new"}[found.options["seed"]]
    assert torch.equal(found.prompts.tokens, {"old": old, "new": new}[told]().prompts.tokens)
    return told


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of saves over an earlier task, and of first ones, each killed at another step; the last was not."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder, paths = tmp_path_factory.mktemp("killed"), [str(found) for found in Path(__file__).parents[:2]]
    subprocess.run([sys.executable, "-c", KILLED.format(paths=paths, folder=folder)], check=True)
    return folder


@pytest.mark.parametrize("over", [True, False])
def test_a_killed_save_leaves_a_whole_task(killed: Path, over: bool) -> None:
    folders = sorted((killed / str(over)).iterdir(), key=lambda folder: int(folder.name))
    assert len(folders) > 15
    seen = [which(folder) if is_artifact(folder) else "none" for folder in folders]
    commit = seen.index("new")
    assert seen == ["old" if over else "none"] * commit + ["new"] * (len(seen) - commit)
    for folder in folders[commit - 2 : commit + 2]:
        save(new(), folder)
        assert which(folder) == "new"
        assert not (folder / NEXT).exists()


@pytest.mark.parametrize("step", range(4))
def test_a_save_that_fails_leaves_a_whole_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    replace, done = os.replace, []

    def failing(a: str, b: str) -> None:
        if len(done) == step:
            raise OSError("power cut")
        done.append(b)
        replace(a, b)

    save(old(), tmp_path)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="power cut"):
        save(new(), tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.tmp"))
    assert which(tmp_path) == ("old" if step < 2 else "new")


def test_tensors_left_by_another_save_are_not_taken_for_the_tasks_own(tmp_path: Path) -> None:
    save(new(), tmp_path / "new")
    save(old(), tmp_path / "old")
    (tmp_path / "old" / NEXT).write_bytes((tmp_path / "new" / TENSORS).read_bytes())
    assert which(tmp_path / "old") == "old"
    (tmp_path / "old" / TENSORS).write_bytes(b"")
    with pytest.raises(ArtifactError, match=f"{TENSORS} is damaged: it has 0 bytes"):
        which(tmp_path / "old")
