"""A folder that others save into at the same time: readers find a whole task, and saves go one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_kill import backbone, task, which

from vpt.artifacts import Manifest, load, read, save
from vpt.artifacts.load import read_task
from vpt.artifacts.schema import CARD, CONFIG, TENSORS
from vpt.errors import ArtifactError


def saved_meanwhile(monkeypatch: pytest.MonkeyPatch, *works: Callable[[Path], object]) -> None:
    """After each of the first times that a loading reads a configuration, one of `works` is done to the folder."""
    left = [*works]

    def reading(folder: Path) -> Manifest:
        found = read(folder)
        if left:
            left.pop(0)(folder)
        return found

    monkeypatch.setattr(sys.modules["vpt.artifacts.load"], "read", reading)


def test_a_reader_gets_the_new_task_where_one_is_saved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(task(1), tmp_path)
    saved_meanwhile(monkeypatch, lambda folder: save(task(2), folder), lambda folder: save(task(3), folder))
    assert load(backbone(), tmp_path).options["seed"] == 3
    assert read_task(tmp_path)[0] == read(tmp_path)


def test_damage_is_still_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(task(1), tmp_path)
    saved_meanwhile(monkeypatch, lambda folder: (folder / TENSORS).write_bytes(b""))
    with pytest.raises(ArtifactError, match="is damaged: it has 0 bytes"):
        load(backbone(), tmp_path)


def test_saves_into_one_folder_wait_for_one_another(tmp_path: Path) -> None:
    models = [task(seed) for seed in (1, 2, 3)]
    with ThreadPoolExecutor(len(models)) as pool:
        for done in [pool.submit(save, model, tmp_path / "task") for _ in range(8) for model in models]:
            done.result()
    assert which(tmp_path / "task") in (1, 2, 3)
    assert {path.name for path in (tmp_path / "task").iterdir()} == {CONFIG, TENSORS, CARD}
