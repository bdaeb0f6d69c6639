"""Small saved tasks, and places for libraries: a folder, memory, and memory that remembers its listings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from support.places import backbone

from vpt.artifacts import save
from vpt.methods import tune


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three saved tasks; the second is the first moved by a known way, the third has another length."""
    folders = []
    for i, length in enumerate((1, 1, 2)):
        model = tune(backbone(), "deep", num_classes=2, length=length)
        with torch.no_grad():
            for tensor in model.trainable().values():
                tensor.fill_(1.0 + i)
        folder = tmp_path_factory.mktemp("saved") / "task"
        folders.append(save(model, folder, classes=["a", "b"], metrics={"accuracy": 0.5 + i / 10}))
    return folders


@pytest.fixture(params=["folder", "memory", "forgetless"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for a library, where there is nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(tmp_path / "library") if request.param == "folder" else f"{request.param}://{uuid4().hex}/library"


@pytest.fixture
def another(saved: list[Path], tmp_path: Path) -> Callable[[str], Path]:
    """Makes saved tasks that are told apart by their cards."""

    def make(name: str) -> Path:
        folder = tmp_path / "others" / name
        folder.mkdir(parents=True)
        for file in saved[0].iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "README.md").write_text(name)
        return folder

    return make
