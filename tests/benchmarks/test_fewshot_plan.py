"""Few-shot plans: what the presets hold, what the command line changes, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fewshot.planning import PRESETS, Asked, make_plan
from benchmarks.fewshot.published import published
from benchmarks.fewshot.stage import KINDS, Stage
from benchmarks.suite.folder import Folder
from benchmarks.suite.plan import Plan, claim, read_plan
from vpt.errors import OptionError
from vpt.methods import names

EMBEDDED = ["data.source=embedded"]
METHODS = names("open_clip")


def asked(preset: str = "mini", **more: Any) -> Plan:
    """A plan on the embedded tasks."""
    return make_plan(Asked(preset, **{"overrides": [] if preset == "mini" else EMBEDDED, **more}))


def paper(**more: Any) -> Plan:
    """The published protocol, on tasks that lie here."""
    return asked("paper", **{"sources": ["digits"], "targets": ["count"], **more})


@given(st.sampled_from(KINDS), st.integers(0, 10**6))
def test_a_stage_is_its_name(kind: str, shots: int) -> None:
    assert Stage.of(Stage(kind, shots).name) == Stage(kind, shots)


@pytest.mark.parametrize("name", ["shots", "shots-", "shot-4", "shots--4", "base-16", "final"])
def test_other_words_are_no_stages(name: str) -> None:
    assert not Stage.is_name(name)
    with pytest.raises(OptionError, match="shots-16"):
        Stage.of(name)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_plan_that_survives_its_file(preset: str, tmp_path: Path) -> None:
    plan = paper() if preset == "paper" else asked(preset)
    assert claim(Folder(tmp_path), plan) == plan == read_plan(Folder(tmp_path))
    assert len({trial.id for trial in plan.trials}) == len(plan.trials)
    for trial in plan.trials:
        assert not plan.settings.fit(trial, trial.lr or 0, trial.weight_decay or 0).problems()


def test_the_published_recipes() -> None:
    plan = paper(tasks=["digits"], seeds=[1])
    found = {}
    for trial in plan.trials:
        fit = plan.settings.fit(trial, trial.lr or 0, trial.weight_decay or 0)
        found[trial.method, trial.stage] = (fit.optimizer, fit.lr, fit.batch_size, fit.epochs)
    epochs = {1: 50, 2: 100, 4: 100, 8: 200, 16: 200}
    assert {k: found["coop", f"shots-{k}"] for k in epochs} == {k: ("sgd", 2e-3, 32, n) for k, n in epochs.items()}
    assert found["cocoop", "base-to-new-16"] == ("sgd", 2e-3, 1, 10)
    assert found["kgcoop", "shots-16"] == ("sgd", 2e-3, 128, 100)
    assert found["clip_vpt", "base-to-new-16"] == ("sgd", 2.5e-3, 4, 5)
    assert found["maple", "base-to-new-16"] == ("sgd", 3.5e-3, 4, 5)
    assert (found["promptsrc", "base-to-new-16"][3], found["promptsrc", "shots-4"][3]) == (20, 50)


def test_what_sees_no_image_is_planned_once() -> None:
    plan = asked(tasks=["digits", "count"], methods=["zero_shot", "coop"], stages=["shots"], shots=[1, 2])
    ids = [trial.id for trial in plan.trials]
    assert [name for name in ids if ".zero_shot." in name] == [
        "digits.zero_shot.shots-0.seed-1", "count.zero_shot.shots-0.seed-1",
    ]  # fmt: skip
    assert sum(".coop." in name for name in ids) == 2 * 2 * 3


def test_transfer_learns_on_its_sources_alone() -> None:
    plan = asked(methods=["coop"], stages=["transfer"], sources=["count"], targets=["digits", "location"], seeds=[5])
    assert [trial.id for trial in plan.trials] == ["count.coop.transfer-16.seed-5"]
    assert plan.settings.targets == ["digits", "location"]
    assert {task.name for task in plan.tasks} == {"count", "digits", "location"}


def test_a_plan_grows_by_shots_seeds_and_methods(tmp_path: Path) -> None:
    first = claim(Folder(tmp_path), asked(methods=["coop"], stages=["shots"], shots=[1], seeds=[1]))
    more = asked(methods=["coop", "taskres"], stages=["shots"], shots=[1, 2], seeds=[1, 2])
    grown = claim(Folder(tmp_path), more)
    assert {trial.id for trial in grown.trials} == {trial.id for trial in (*first.trials, *more.trials)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"methods": ["coup"]}, "did you mean 'coop'"),
        ({"methods": ["deep"]}, "unknown method 'deep'"),
        ({"methods": ["coop:contxt_length=3"]}, "did you mean 'context_length'"),
        ({"methods": ["coop", "coop"]}, "coop given twice"),
        ({"tasks": ["digit"]}, "did you mean 'digits'"),
        ({"tasks": []} | {"overrides": ["data.source=embeded"]}, "did you mean 'embedded'"),
        ({"overrides": ["data.source=coop", "data.root=nowhere"]}, "--data: nowhere given"),
        ({"overrides": ["data.source=''"]}, "images: none named"),
        ({"overrides": ["data.options={tst: 3}"]}, "did you mean 'test'"),
        ({"stages": ["shot"]}, "did you mean 'shots'"),
        ({"shots": [0]}, "shots: 0 given; accepted: 1, 2, 3"),
        ({"seeds": [1, 1]}, "different whole numbers"),
        ({"sources": ["digts"]}, "transfer: tasks: 'digts' (did you mean 'digits'?)"),
        ({"overrides": ["recipes.coop.lr=[1e-3,1e-2]"]}, "recipes: coop with more than one learning rate"),
        ({"overrides": ["recipes.coop.epochs={shot-4: 3}"]}, "recipes.coop.epochs: shot-4 given"),
        ({"overrides": ["recipes.coop.batch_size=0"]}, "recipes.coop.batch_size: 0 given"),
        ({"overrides": ["recipes.coup.lr=[1e-3]"]}, "did you mean 'coop'"),
    ],
)
def test_wrong_words_are_named_with_the_nearest_right_one(given: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        asked(**given)
    assert told in str(caught.value)


def test_published_figures_are_by_our_methods_and_those_of_the_reference() -> None:
    found = published()
    assert set(found) <= set(METHODS)
    for method in found.values():
        assert method.source
        if {"base", "new", "h"} <= method.figures.keys():
            base, new = method.figures["base"], method.figures["new"]
            assert method.figures["h"] == pytest.approx(2 * base * new / (base + new), abs=0.06)


def test_published_figures_are_those_of_the_reference_file() -> None:
    file = Path(__file__).parents[3] / "shared" / "reference" / "published_clip.csv"
    if not file.exists():
        pytest.skip("the reference figures are not on this machine")
    lines = [line.split(",") for line in file.read_text().splitlines() if not line.startswith("#")]
    theirs = sorted(float(value) for line in lines[1:] for value in line[1:9] if value)
    assert sorted(value for method in published().values() for value in method.figures.values()) == theirs
