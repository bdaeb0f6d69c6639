"""A pretraining run goes on with the recipe it had, or says that it did not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ONE, OTHER = {"epochs": 2, "lr": 0.1}, {"epochs": 3, "lr": 0.1}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts import each other from their own folder."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])


def test_another_recipe_is_refused_or_recorded() -> None:
    from recipes import FLAG, recipes

    begun = recipes([], ONE, 0, go_on=False)
    assert begun == [{"from_epoch": 0, **ONE}]
    assert recipes(begun, ONE, 1, go_on=False) == begun
    with pytest.raises(SystemExit, match=rf"after epoch 1 is of another recipe: epochs \(2, now 3\)\..* or {FLAG}"):
        recipes(begun, OTHER, 1, go_on=False)
    both = recipes(begun, OTHER, 1, go_on=True)
    assert both == [{"from_epoch": 0, **ONE}, {"from_epoch": 1, **OTHER}]
    assert recipes(both, OTHER, 2, go_on=False) == both


@pytest.mark.parametrize("script", ["pretrain_embedded", "pretrain_embedded_clip"])
def test_a_checkpoint_keeps_its_recipe(script: str, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")
    module = __import__(script)
    more = (module.Captions(["cat"]),) if script.endswith("clip") else ()

    def pretraining(epochs: int, **given: Any) -> Any:
        return module.Pretraining(module.Recipe(epochs=epochs), *more, tmp_path, "cpu", **given)

    pretraining(2).checkpoint()
    assert [recipe["epochs"] for recipe in pretraining(2).recipes] == [2]
    with pytest.raises(SystemExit, match=r"epochs \(2, now 3\)"):
        pretraining(3)
    assert [recipe["epochs"] for recipe in pretraining(3, go_on=True).recipes] == [2, 3]
