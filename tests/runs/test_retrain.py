"""Tasks bound to another backbone are found, and trained anew on it as they were trained before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.places import backbone

from vpt.artifacts import read, save
from vpt.artifacts.library import Library
from vpt.errors import OptionError
from vpt.methods import tune
from vpt.runs.config import BackboneConfig, CardConfig
from vpt.runs.retrain import configuration, retrain, stale, stale_subjects, subject

OLD = BackboneConfig("embedded", image_size=16, pretrained=False)
NEW = BackboneConfig("embedded", image_size=16)


@pytest.fixture
def library(tmp_path: Path, finished: Path) -> Library:
    """A task on a backbone with random weights."""
    made = Library(tmp_path / "library")
    made.add(finished / "artifact", "digits")
    return made


def test_stale_is_what_belongs_to_another_backbone(library: Library) -> None:
    assert stale(library, OLD) == []
    (found,) = stale(library, NEW)
    assert (found.version, list(stale_subjects(library, NEW))) == (library.version("digits", 1), [found.version])
    assert "the frozen tensors (SHA-256" in found.why
    library.retire("digits", 1, why="old")
    assert stale(library, NEW) == []
    with pytest.raises(OptionError, match="all versions are retired"):
        subject(library, "digits")


def test_methods_that_train_the_backbone_belong_to_any_of_its_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(tmp_path / "library")
    for name, method in (("whole", "full"), ("part", "bias")):
        library.add(save(tune(backbone(), method, num_classes=2), tmp_path / name), name)

    def moved(_: BackboneConfig) -> Any:
        other = backbone()
        other.blocks[0].mlp.fc1.weight.data += 1
        return other

    monkeypatch.setattr("vpt.runs.retrain.prepare_backbone", moved)
    assert [one.version.task for one in stale(library, OLD)] == ["part"]


def test_a_task_is_trained_anew_once_and_is_a_draft_of_the_same_task(
    library: Library, tmp_path: Path, counted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    library.approve("digits", 1)
    add = Library.add

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Library, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrain(library, subject(library, "digits"), NEW, tmp_path / "out", quiet=True)
    monkeypatch.setattr(Library, "add", add)
    for _ in range(2):
        made = retrain(library, subject(library, "digits"), NEW, tmp_path / "out", by="ann", quiet=True)
        assert (made.number, made.state, made.origin, made.by) == (2, "draft", 1, "ann")
    assert [step["did"] for step in counted] == ["fit", "evaluate"]
    assert library.head() == 3
    assert library.log()[-1].why == "version 1 on embedded"
    assert {one.version.number for one in stale(library, NEW)} == {1}
    assert {one.version.number for one in stale(library, OLD)} == {2}


def test_it_is_trained_as_before(library: Library, tmp_path: Path) -> None:
    old = read(library.open("digits", 1))
    made = retrain(library, library.version("digits", 1), OLD, tmp_path / "out", quiet=True)
    new = read(library.open("digits", made.number))
    aside = ("out", "checkpoint_every", "finished")
    assert new.tensors == old.tensors  # on the same backbone: the same bits
    assert (new.method, new.options, new.path, new.metrics) == (old.method, old.options, old.path, old.metrics)
    assert {k: v for k, v in new.provenance.items() if k not in aside} == {
        k: v for k, v in old.provenance.items() if k not in aside
    }


def test_what_the_card_says_is_said_again(library: Library) -> None:
    said = replace(read(library.open("digits", 1)), licence="MIT", intended_use="Digits on parcels")
    assert configuration(said, NEW, "digits 1").card == CardConfig("MIT", "Digits on parcels")


def test_what_cannot_be_trained_anew_is_explained(library: Library, tmp_path: Path) -> None:
    bare = read(save(tune(backbone(), "deep", num_classes=2), tmp_path / "bare"))
    with pytest.raises(
        OptionError, match="a b does not say how it was trained: its provenance lacks data_config, train"
    ):
        configuration(bare, NEW, "a b")
    with pytest.raises(OptionError, match="'deep' is for timm models"):
        configuration(read(library.open("digits", 1)), BackboneConfig("embedded-clip"), "digits 1")
