"""A plan: tasks x variants x grid x seeds as data, in one file, made before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.suite.folder import SCHEMA, Folder, told_when_full
from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import FINAL, SEARCH, Trial
from vpt.artifacts.save import jsonable
from vpt.errors import OptionError
from vpt.runs.config import differing
from vpt.runs.record import read_json
from vpt.training.files import write_atomically


@dataclass(frozen=True)
class TaskEntry:
    """A column of the table. classes, test: what the task must have; None where it may be anything."""

    name: str
    title: str
    group: str
    classes: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Variant:
    """A row of the table: a method with options. axis: its place on an ablation's axis."""

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    axis: Any = None


@dataclass(frozen=True)
class Plan:
    """What is to be done. ablation: name, title and axis of the chart, of a plan that is one."""

    suite: str
    preset: str
    about: str
    settings: Settings
    tasks: tuple[TaskEntry, ...]
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    ablation: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        content = {
            "schema": SCHEMA, "suite": self.suite, "preset": self.preset, "ablation": self.ablation,
            "about": self.about, "settings": asdict(self.settings), "tasks": [asdict(task) for task in self.tasks],
            "variants": [{**asdict(v), "options": dict(v.options)} for v in self.variants],
            "trials": [trial.to_dict() for trial in self.trials],
        }  # fmt: skip
        plain: dict[str, Any] = jsonable(content)
        return plain

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`. Raises `OptionError` for another schema."""
        if content.get("schema") != SCHEMA:
            raise OptionError(f"a plan of schema {content.get('schema')!r}; this version of vpt reads {SCHEMA}")
        return cls(
            content["suite"], content["preset"], content["about"], read_settings(content["settings"]),
            tuple(TaskEntry(**task) for task in content["tasks"]),
            tuple(Variant(**variant) for variant in content["variants"]),
            tuple(Trial.from_dict(trial) for trial in content["trials"]), content["ablation"],
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """How many tasks, variants, and trials of each stage there are."""
        stages = Counter(trial.stage for trial in self.trials)
        named = stages if stages.keys() - {SEARCH, FINAL} else (SEARCH, FINAL)
        trials = {f"{stage} trials": stages[stage] for stage in named}
        return {"tasks": len(self.tasks), "variants": len(self.variants), **trials}


def lay_out(settings: Settings, task: str, variant: Variant, seeds: Sequence[int], search_seed: int) -> list[Trial]:
    """The trials of one cell: the search, where its recipe has more than one point, and a final trial per seed."""
    name = settings.recipe_of(variant.method)
    recipe = settings.recipes[name]
    trial = Trial(task, variant.label, FINAL, variant.method, name, search_seed, variant.options)
    if not recipe.searches:
        (lr,), (decay,) = recipe.lr, recipe.weight_decay
        return [replace(trial, seed=seed, lr=lr, weight_decay=decay) for seed in seeds]
    points = [(lr, decay) for lr in recipe.lr for decay in recipe.weight_decay]
    search = [replace(trial, stage=SEARCH, lr=lr, weight_decay=decay) for lr, decay in points]
    return search + [replace(trial, seed=seed) for seed in seeds]


def read_settings(content: Mapping[str, Any]) -> Settings:
    """Settings from `asdict(settings)` after a trip through JSON."""
    from omegaconf import OmegaConf

    settings: Settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), content))  # type: ignore[assignment]
    return settings


def read_plan(folder: Folder) -> Plan | None:
    """The plan of a folder, or None where there is none."""
    content = read_json(folder.plan)
    return None if content is None else Plan.from_dict(content)


def claim(folder: Folder, plan: Plan) -> Plan:
    """Write `plan` into `folder`, or add it to the plan there: more tasks, variants and seeds under equal settings.

    Raises `OptionError` naming everything in which the two contradict each other.
    """
    before = read_plan(folder)
    whole = plan if before is None else _together(before, plan, folder.root)
    if whole != before:
        with told_when_full(folder.root):
            write_atomically(folder.plan, json.dumps(whole.to_dict(), indent=1) + "\n")
    return whole


def _together(before: Plan, now: Plan, where: Path) -> Plan:
    was, asked = before.to_dict(), now.to_dict()
    faults = list(differing({k: was[k] for k in _FIXED}, {k: asked[k] for k in _FIXED}))
    labels, ids = {v.label: v for v in before.variants}, {t.id: t for t in before.trials}
    faults += [f"variant {v.label} ({dict(labels[v.label].options)}, now {dict(v.options)})"
               for v in now.variants if v != labels.get(v.label, v)]  # fmt: skip
    faults += [_trials_differ(ids[t.id], t) for t in now.trials if t != ids.get(t.id, t)]
    faults += [f"task {t.name}" for t in now.tasks for o in before.tasks if o.name == t.name and o != t]
    if faults:
        raise OptionError(
            f"{where} holds another plan; give another --out, or ask for the same. Different are:\n  "
            + "\n  ".join(faults[:SHOWN] + ([f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []))
        )
    return replace(
        before, about=now.about,
        tasks=_union(before.tasks, now.tasks), variants=_union(before.variants, now.variants),
        trials=tuple({trial.id: trial for trial in (*before.trials, *now.trials)}.values()),
    )  # fmt: skip


def _trials_differ(was: Trial, asked: Trial) -> str:
    return f"trial {asked.id}: {', '.join(differing(was.to_dict(), asked.to_dict()))}"


SHOWN = 12
"""Differences that an error lists."""

_FIXED = ("suite", "preset", "ablation", "settings")


def _union(first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, ...]:
    return (*first, *(entry for entry in second if entry not in first))


def selected(whole: Plan, asked: Plan) -> list[Trial]:
    """The trials of `whole`, a folder's plan, that `asked` names; in its order."""
    wanted = {trial.id for trial in asked.trials}
    return [trial for trial in whole.trials if trial.id in wanted]
