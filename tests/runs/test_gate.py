"""A gate measures what is to be approved, refuses what is too bad, and the log keeps the figures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.libraries import GATE

from vpt import backbones
from vpt.artifacts import read, save
from vpt.artifacts.library import Library
from vpt.errors import DataError, OptionError, WeightsUnavailable
from vpt.methods import tune
from vpt.runs import gate as gates
from vpt.runs.config import BackboneConfig, DataConfig
from vpt.runs.gate import Gate, Where, approve, check, requirements, set_gate
from vpt.runs.prepare import prepare_backbone
from vpt.runs.run import METRICS

DIGITS = DataConfig("embedded", "digits", options={"train": 40, "val": 20, "test": 30})


@pytest.fixture
def library(tmp_path: Path, finished: Path) -> Library:
    """A task with two drafts that differ in their cards alone."""
    made = Library(tmp_path / "library")
    made.add(finished / "artifact", "digits")
    shutil.copytree(finished / "artifact", tmp_path / "other")
    (tmp_path / "other" / "README.md").write_text("another card")
    made.add(tmp_path / "other", "digits")
    return made


def test_a_version_that_reaches_what_is_asked_is_approved_with_its_figures(library: Library, finished: Path) -> None:
    measured = read(finished / "artifact").metrics
    gate = set_gate(library, "digits", DIGITS, {"accuracy": measured["accuracy"], "macro_f1": 0.0})
    assert gate.images == 30
    assert approve(library, "digits", 1, why="good", by="ann").state == "approved"
    entry = library.log()[-1]
    figures = {name: measured[name] for name in METRICS}
    assert entry.facts["checks"] == {
        "gate": 3, "digest": library.version("digits", 1).digest, "current": None, "figures": figures, "against": None,
        "failed": [], "forced": False,
    }  # fmt: skip


def test_a_version_below_is_refused_with_its_figures_unless_it_is_forced(library: Library) -> None:
    set_gate(library, "digits", DIGITS, {"accuracy": 1.0})
    with pytest.raises(OptionError, match=r"accuracy is 0\.\d{4}, and must be 1 or more"):
        approve(library, "digits", 1)
    with pytest.raises(OptionError, match="say why"):
        approve(library, "digits", 1, force=True)
    assert library.head() == 3
    assert library.current("digits") is None
    approve(library, "digits", 1, why="the fair opens", force=True)
    checks = library.log()[-1].facts["checks"]
    assert checks["forced"]
    assert checks["failed"][0].startswith("accuracy is 0.")


def test_without_a_gate_the_log_says_that_nothing_was_checked(library: Library, counted: list[dict[str, Any]]) -> None:
    assert approve(library, "digits", 1).state == "approved"
    assert library.log()[-1].facts == {"checks": None}
    assert counted == []


@pytest.mark.parametrize(("theirs", "passes"), [(0.5, True), (0.52, True), (0.54, False)])
def test_a_version_must_not_be_much_worse_than_the_current_one(
    library: Library, monkeypatch: pytest.MonkeyPatch, theirs: float, passes: bool
) -> None:
    figures = {1: dict.fromkeys(METRICS, theirs), 2: dict.fromkeys(METRICS, 0.5)}
    monkeypatch.setattr(gates, "_measure", lambda library, version, *_: figures[version.number])
    approve(library, "digits", 1)
    set_gate(library, "digits", DIGITS, {}, not_worse=0.03)
    if passes:
        approve(library, "digits", 2)
        checks = library.log()[-1].facts["checks"]
        assert (checks["current"], checks["against"]) == (1, figures[1])
    else:
        with pytest.raises(OptionError, match=r"accuracy is 0.5000, and 0.5400 with digits 1, which is current"):
            approve(library, "digits", 2)


def test_what_was_compared_with_an_earlier_version_is_measured_again(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_measure", lambda *_: dict.fromkeys(METRICS, 0.5))
    set_gate(library, "digits", DIGITS, {}, not_worse=0.03)
    found = check(library, "digits", 2)
    approve(library, "digits", 1)
    with pytest.raises(OptionError, match="measure again"):
        library.approve("digits", 2, checks=found)
    assert approve(library, "digits", 2).state == "approved"


def test_a_backbone_that_is_named_is_that_of_the_version_and_not_of_another(library: Library, tmp_path: Path) -> None:
    classes = library.version("digits", 1).classes
    files = {"name": "embedded", "image_size": 16, "pretrained": False}  # what the artefact says, whose weights moved
    weights = Path(backbones.__file__).with_name("embedded_vit.safetensors")
    backbone = prepare_backbone(BackboneConfig("embedded", weights, image_size=16))
    model = tune(backbone, "linear", num_classes=10)
    library.add(save(model, tmp_path / "elsewhere", classes=classes, provenance={"backbone": files}), "digits")
    approve(library, "digits", 1)
    set_gate(library, "digits", DIGITS, {}, not_worse=1.0)
    approve(library, "digits", 3, where=Where(checkpoint=weights))
    assert library.log()[-1].facts["checks"]["against"].keys() == {*METRICS}


def test_a_backbone_that_is_named_is_that_of_all_that_are_bound_to_the_same(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    model = tune(prepare_backbone(BackboneConfig("embedded")), "linear", num_classes=10)
    for name in ("a", "b"):
        classes, told = [str(c) for c in range(10)], {"told": name}
        library.add(save(model, tmp_path / name, classes=classes, provenance=told), "digits")
    library.approve("digits", 1)
    set_gate(library, "digits", DIGITS, {}, not_worse=0.0)
    assert approve(library, "digits", 2, where=Where(backbone="embedded")) == library.current("digits")


def test_a_gate_that_cannot_be_understood_is_forced_like_one_that_cannot_be_measured(library: Library) -> None:
    library.set_gate("digits", {**GATE, "data": {"source": "embedded", "later": 1}})
    with pytest.raises(OptionError, match=r"data\.later: no such field"):
        approve(library, "digits", 1)
    approve(library, "digits", 1, why="the fair opens", force=True)
    assert library.log()[-1].facts["checks"]["failed"][0].startswith("not measured: ")


def test_other_images_than_the_gates_are_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gate(library, "digits", DIGITS, {"accuracy": 0.0})
    changed = DataConfig("embedded", "digits", options={"train": 40, "val": 20, "test": 29})
    original = Gate.from_dict
    monkeypatch.setattr(
        Gate,
        "from_dict",
        lambda content: original({**content, "data": {**content["data"], "options": changed.options}}),
    )
    with pytest.raises(DataError, match=r"29 images of digest .*, then 30 of"):
        approve(library, "digits", 1)
    approve(library, "digits", 1, why="they were sorted", force=True)
    assert library.log()[-1].facts["checks"]["failed"][0].startswith("not measured: these are not the images")


def test_images_of_other_classes_and_other_backbones_are_refused(library: Library) -> None:
    set_gate(
        library, "digits", DataConfig("embedded", "count", options={"train": 4, "val": 4, "test": 8}), {"accuracy": 0}
    )
    with pytest.raises(OptionError, match="the gate's images have the classes"):
        approve(library, "digits", 1)
    set_gate(library, "digits", DIGITS, {"accuracy": 0})
    with pytest.raises(WeightsUnavailable):
        approve(library, "digits", 1, where=Where(checkpoint=Path("nowhere.safetensors")))
    assert library.current("digits") is None


def test_a_gate_comes_back_from_the_log(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gate = set_gate(library, "digits", DIGITS, {"accuracy": 0.25}, split="val", not_worse=0.5)
    entry = Library(library.url).gate("digits")
    assert entry is not None
    assert Gate.from_dict(entry.facts["gate"]) == gate
    assert gates._absolute(DataConfig(root=Path("images"))).root == tmp_path / "images"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["accuracy>0.8"], "no requirement"),
        (["acuracy>=0.8"], "did you mean 'accuracy'"),
        (["accuracy>=80"], "from 0 to 1"),
        (["accuracy>=1e"], "from 0 to 1"),
        (["accuracy>=0.8", "accuracy>=0.1"], "each metric once"),
    ],
)
def test_requirements_that_cannot_be_are_explained(texts: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        requirements(texts)


def test_gates_that_cannot_be_are_explained(library: Library) -> None:
    assert requirements(["accuracy>=0.8", " macro_f1 >= .5 "]) == {"accuracy": 0.8, "macro_f1": 0.5}
    with pytest.raises(OptionError, match="asks for nothing"):
        set_gate(library, "digits", DIGITS, {})
    with pytest.raises(OptionError, match="did you mean 'test'"):
        set_gate(library, "digits", DIGITS, {"accuracy": 0.5}, split="tset")
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        set_gate(library, "digit", DIGITS, {"accuracy": 0.5})
    assert library.gate("digits") is None
