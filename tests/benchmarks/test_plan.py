"""Plans: what they hold, how they grow, what they refuse; and what can be done when."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.suite.cost import words
from benchmarks.suite.folder import DIVERGED, DONE, FAILED, Folder
from benchmarks.suite.plan import Plan, claim, read_plan
from benchmarks.suite.schedule import Schedule, best
from benchmarks.suite.trial import Trial
from benchmarks.vtab import lengths
from benchmarks.vtab.planning import ABLATIONS, PRESETS, Asked, make_plan
from vpt.data import vtab
from vpt.errors import OptionError
from vpt.methods import describe, names

ROOT = Path(__file__).parent
FOLDER = ["data.source=folder", f"data.root={ROOT}"]


def asked(preset: str = "paper", **more: Any) -> Plan:
    """A plan on a folder of VTAB tasks."""
    return make_plan(Asked(preset, **{"overrides": FOLDER, **more}))


# --- the presets ------------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_published_grid() -> None:
    plan = asked()
    assert [task.name for task in plan.tasks] == list(vtab.TASKS)
    assert plan.counts() == {
        "tasks": 19, "variants": 5, "search trials": 19 * (3 * 40 + 2 * 16), "final trials": 19 * 5 * 5,
    }  # fmt: skip
    deep = [trial for trial in plan.trials if trial.cell == ("cifar", "deep")]
    search = [trial for trial in deep if trial.stage == "search"]
    assert {trial.lr for trial in search} == {50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05}
    assert {trial.weight_decay for trial in search} == {1e-2, 1e-3, 1e-4, 0}
    assert [trial.seed for trial in deep if trial.stage == "final"] == [42, 44, 82, 100, 800]
    fit = plan.settings.fit(search[0], 50, 1e-2)
    assert (fit.optimizer, fit.momentum, fit.schedule, fit.warmup, fit.epochs) == ("sgd", 0.9, "epoch", 10, 100)
    assert fit.base_lr == 50 * 64 / 256
    full = plan.settings.fit(next(t for t in plan.trials if t.method == "full"), 1e-3, 0)
    assert (full.optimizer, full.warmup) == ("adamw", 5)
    assert plan.settings.head_init == "paper"
    assert (plan.settings.preprocessing.interpolation, plan.settings.preprocessing.antialias) == ("bilinear", False)


def test_prompt_lengths_are_the_published_ones() -> None:
    order = "10,10,10,1,1,50,5,100,100,10,1,100,200,100,100,100,100,200,200"  # in the columns' order
    assert [lengths.length(task) for task in vtab.TASKS] == [int(length) for length in order.split(",")]
    found = {trial.task: trial.options for trial in asked().trials if trial.variant == "deep"}
    assert found["clevr_dist"] == {"length": 200, "dropout": 0.1}
    assert all(trial.options == {"length": lengths.length(trial.task)} for trial in asked().trials
               if trial.variant == "shallow")  # fmt: skip


def test_the_fast_preset_searches_nothing() -> None:
    plan = asked("fast")
    assert plan.counts()["search trials"] == 0
    assert {trial.lr for trial in plan.trials} == {1e-3, 1e-4}
    assert len({trial.seed for trial in plan.trials}) == 3


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("ablation", [None, *ABLATIONS])
def test_every_preset_and_ablation_makes_a_plan_that_survives_its_file(
    preset: str, ablation: str | None, tmp_path: Path
) -> None:
    own_source = preset == "mini"
    plan = make_plan(Asked(preset, ablation, overrides=[] if own_source else FOLDER))
    assert claim(Folder(tmp_path), plan) == plan
    assert read_plan(Folder(tmp_path)) == plan
    assert len({trial.id for trial in plan.trials}) == len(plan.trials)
    assert (ablation is None) or (all(v.axis is not None for v in plan.variants) and plan.ablation["title"])  # type: ignore[index]


def test_every_method_of_the_toolkit_is_a_row_by_its_name() -> None:
    plan = asked("fast", tasks=["dtd"], methods=names("timm"), seeds=[0])
    assert {variant.method for variant in plan.variants} == set(names("timm"))
    for variant in plan.variants:
        describe(variant.method).bind(dict(variant.options))


def test_methods_take_options_on_the_command_line() -> None:
    plan = asked("fast", tasks=["dtd"], methods=["deep:length=5,layers=last:3", "deep:length=7", "deep"], seeds=[0])
    first, second, third = plan.variants
    assert first.options == {"length": 5, "layers": "last:3", "dropout": 0.1}
    assert second.options["length"] == 7
    assert third.label == "deep"
    assert len({first.label, second.label, third.label}) == 3
    assert plan.trials[0].options["layers"] == "last:3"


def test_a_recipe_that_an_override_begins_is_else_the_default_one() -> None:
    recipes = asked(overrides=[*FOLDER, "recipes.deep.lr=[1,2]"]).settings.recipes
    assert recipes["deep"].lr == [1, 2]
    assert (recipes["deep"].optimizer, recipes["deep"].weight_decay) == ("sgd", recipes["default"].weight_decay)
    assert recipes["deep"].decay == ["prompts"]


def test_linear_probes_are_trained_in_float32_whatever_the_others_are() -> None:
    plan = asked("fast", overrides=[*FOLDER, "precision=bf16"])
    found = {t.method: plan.settings.fit(t, 1e-3, 0).precision for t in plan.trials}
    assert found.pop("linear") == "fp32"
    assert set(found.values()) == {"bf16"}


def test_groups_and_other_names_of_tasks() -> None:
    assert [t.name for t in asked(tasks=["structured"]).tasks] == list(vtab.GROUPS["structured"])
    assert [t.name for t in asked(tasks=["clevr_distance", "cifar100", "cifar"]).tasks] == ["cifar", "clevr_dist"]


# --- mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"ablation": "lenght"}, "did you mean 'length'"),
        ({"tasks": ["cifr", "dtdd"]}, "'cifr' (did you mean 'cifar'?), 'dtdd' (did you mean 'dtd'?)"),
        ({"methods": ["depe"]}, "did you mean 'deep'"),
        ({"methods": ["deep:lenght=3"]}, "did you mean 'length'"),
        ({"methods": ["deep:length"]}, "is no option=value"),
        ({"methods": ["deep", "deep"]}, "deep given twice"),
        ({"seeds": [1, 1]}, "different whole numbers"),
        ({"overrides": [*FOLDER, "epoch=3"]}, "did you mean 'epochs'"),
        ({"overrides": [*FOLDER, "epochs"]}, "is no override"),
        ({"overrides": [*FOLDER, "epochs=many"]}, "epochs=many"),
        ({"overrides": [*FOLDER, "recipes.default.lr=[]"]}, "recipes.default.lr: [] given"),
        ({"overrides": [*FOLDER, "recipes.full.lr=[1e-3,-1]"]}, "lr: -1.0 given"),
        ({"overrides": [*FOLDER, "recipes.ful.lr=[1e-3]"]}, "did you mean 'full'"),
        ({"overrides": [*FOLDER, "search_epochs=0"]}, "epochs: 0 given"),
        ({"overrides": [*FOLDER, "epochs=5"]}, "warmup_epochs: 10"),
        ({"overrides": []}, "images: none named"),
        ({"overrides": ["data.source=foldr"]}, "did you mean 'folder'"),
        ({"overrides": ["data.source=folder", "data.root=nowhere"]}, "--data: nowhere given"),
        ({"overrides": [*FOLDER, "recipes.full.lr=[-1]", "batch_size=0"]}, "batch_size: 0 given"),
        ({"overrides": [*FOLDER, "recipes.full.lr=[-1]", "batch_size=0"]}, "lr: -1.0 given"),
    ],
)
def test_wrong_words_are_named_with_the_nearest_right_one(given: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        asked(**given)
    assert told in str(caught.value)


# --- plans grow, and do not change ------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_plan_grows_by_tasks_methods_and_seeds(preset: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    small = asked(preset, tasks=["dtd"], methods=["linear"], seeds=[7])
    more = asked(preset, tasks=["cifar", "dtd"], methods=["linear", "deep"], seeds=[1, 7])
    claim(folder, small)
    whole = claim(folder, more)
    assert {t.id for t in whole.trials} == {t.id for t in more.trials}
    assert claim(folder, small) == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"overrides": [*FOLDER, "epochs=70"]}, "settings.epochs (100, now 70)"),
        ({"overrides": ["data.source=tfds", f"data.root={ROOT}"]}, "settings.data.source"),
        ({"preset": "paper"}, "preset"),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    given = {"preset": "fast", "tasks": ["dtd"], "methods": ["linear"], "seeds": [0]}
    claim(Folder(tmp_path), asked(**given))
    before = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(OptionError) as caught:
        claim(Folder(tmp_path), asked(**{**given, **change}))
    assert named in str(caught.value)
    assert (tmp_path / "plan.json").read_bytes() == before


def test_a_variant_of_the_same_name_but_other_options_is_refused(tmp_path: Path) -> None:
    plan = asked("fast", tasks=["dtd"], methods=["deep"], seeds=[0])
    claim(Folder(tmp_path), plan)
    other = replace(plan, variants=(replace(plan.variants[0], options={"length": 3}),))
    with pytest.raises(OptionError, match="variant deep"):
        claim(Folder(tmp_path), other)


def test_a_plan_of_another_schema_is_refused(tmp_path: Path) -> None:
    plan = asked("fast", tasks=["dtd"], methods=["deep"], seeds=[0])
    (tmp_path / "plan.json").write_text(json.dumps({**plan.to_dict(), "schema": 99}))
    with pytest.raises(OptionError, match="schema 99"):
        read_plan(Folder(tmp_path))


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    import multiprocessing

    with Folder(tmp_path).locked():
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            told = pool.apply(try_to_lock, (tmp_path,))
    assert f"in use by process {os.getpid()}" in told
    assert try_to_lock(tmp_path) == ""


def try_to_lock(root: Path) -> str:
    """What a second run is told; nothing where it gets in."""
    try:
        with Folder(root).locked():
            return ""
    except OptionError as error:
        return str(error)


# --- what can be done when --------------------------------------------------------------------------------


def cell(points: list[tuple[float, float]], method: str = "deep", seeds: int = 2) -> list[Trial]:
    search = [Trial("t", "v", "search", method, "default", 0, {}, lr, decay) for lr, decay in points]
    return search + [Trial("t", "v", "final", method, "default", seed) for seed in range(seeds)]


def outcome(trial: Trial, accuracy: float | None, status: str = DONE) -> dict[str, Any]:
    metrics = None if accuracy is None else {"accuracy": accuracy}
    return {"id": trial.id, "trial": trial.to_dict(), "status": status, "metrics": metrics}


def test_final_trials_wait_for_the_whole_search_and_take_its_best_point() -> None:
    trials = cell([(1.0, 0.1), (2.0, 0.1)])
    schedule = Schedule(trials, {})
    first, second = schedule.take(), schedule.take()
    assert first is not None
    assert second is not None
    assert schedule.take() is None
    schedule.put(outcome(first.trials[0], 0.3))
    assert schedule.take() is None
    schedule.put(outcome(second.trials[0], 0.5))
    final = schedule.take()
    assert final is not None
    assert final.trials[0].stage == "final"
    assert (final.points[0].lr, set(final.points[0].by)) == (2.0, {t.id for t in trials[:2]})


def test_where_a_search_trial_failed_its_final_trials_wait() -> None:
    trials = cell([(1.0, 0.1), (2.0, 0.1)])
    schedule = Schedule(trials, {trials[0].id: outcome(trials[0], 0.4)})
    job = schedule.take()
    assert job is not None
    schedule.put(outcome(job.trials[0], None, FAILED))
    assert schedule.take() is None
    assert [trial.stage for trial in schedule.waiting()] == ["final", "final"]


def test_finished_trials_are_not_taken_again_and_failed_ones_are() -> None:
    trials = cell([(1.0, 0.1), (2.0, 0.1), (3.0, 0.1)])
    found = {
        t.id: outcome(t, a, s) for t, a, s in zip(trials, (0.4, None, None), (DONE, DIVERGED, FAILED), strict=False)
    }
    job = Schedule(trials, found).take()
    assert job is not None
    assert list(job.wanted) == [trials[2].id]


def test_linear_probes_of_a_cell_are_one_job() -> None:
    trials = cell([(1.0, 0.1), (2.0, 0.1)], method="linear")
    job = Schedule(trials, {}).take()
    assert job is not None
    assert [point.lr for point in job.points] == [1.0, 2.0]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 1.0, 10.0]), st.sampled_from([0.0, 0.1]), st.sampled_from([None, 0.2, 0.5])),
        min_size=1, unique_by=lambda point: point[:2],
    )
)  # fmt: skip
def test_the_best_point_is_the_most_accurate_and_of_equals_the_smallest(found: list[Any]) -> None:
    records = [
        outcome(Trial("t", "v", "search", "deep", "default", 0, {}, lr, wd), a, DONE if a else DIVERGED)
        for lr, wd, a in found
    ]
    chosen = best(records)
    top = max(a or -1 for *_, a in found)
    assert (chosen.lr, chosen.weight_decay) == min((lr, wd) for lr, wd, a in found if (a or -1) == top)
    assert len(chosen.by) == len(found)


@given(st.floats(1, 1e7))
def test_times_are_told_in_words_of_about_their_size(seconds: float) -> None:
    number, unit = words(seconds).split()[1:]
    size = {"s": 1, "min": 60, "h": 3600, "days": 86400}[unit]
    assert float(number) * size == pytest.approx(seconds, rel=0.3, abs=0.5)
