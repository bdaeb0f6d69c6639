"""From a preset and what the command line says to a `Plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fewshot import tasks
from benchmarks.fewshot.stage import BASE_TO_NEW, KINDS, SHOTS, TRANSFER, Stage
from benchmarks.suite.asking import check_seeds, content, files, settings_of, variants_of
from benchmarks.suite.plan import Plan, Variant
from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import Trial
from vpt.errors import OptionError, unknown

PRESETS = files(Path(__file__).parent / "presets")

UNLEARNED = ("zero_shot",)
"""Methods that see no image: one trial of 0 shots says all about them."""


@dataclass(frozen=True)
class Asked:
    """What the command line says; None and empty leave what the preset says.

    stages: of `stage.KINDS`. shots: images per class, in the stage "shots". sources, targets: what transfer learns on,
    and what it is measured on. methods: names, or `name:option=value,...`. overrides: `a.b=c` of `Settings`.
    """

    preset: str = "paper"
    tasks: Sequence[str] = ()
    methods: Sequence[str] = ()
    stages: Sequence[str] = ()
    shots: Sequence[int] = ()
    sources: Sequence[str] = ()
    targets: Sequence[str] = ()
    seeds: Sequence[int] = ()
    overrides: Sequence[str] = ()


def make_plan(asked: Asked) -> Plan:
    """The plan of tasks x methods x stages x seeds. Raises one `OptionError` per kind of mistake, each naming all."""
    preset = content("preset", asked.preset, PRESETS)
    settings = settings_of(preset["settings"], asked.overrides, "open_clip")
    seeds, stages = list(asked.seeds or preset["seeds"]), _stages(preset, asked)
    check_seeds(seeds)
    columns = tasks.entries(asked.tasks or preset.get("tasks", ["all"]), settings.data)
    transfer = preset.get("transfer") or {}
    learned_on = _transfer(stages, asked.sources or transfer.get("from", ["all"]), settings)
    settings = replace(settings, targets=_transfer(stages, asked.targets or transfer.get("to", ["all"]), settings))
    _validate(settings, stages)
    variants = variants_of(asked.methods or preset["methods"], preset.get("variants") or {}, "open_clip")
    places = [(task.name, stage) for task in columns for stage in stages if stage.kind != TRANSFER]
    places += [(name, stage) for name in learned_on for stage in stages if stage.kind == TRANSFER]
    laid_out = [t for task, stage in places for v in variants for t in _lay_out(settings, task, v, stage, seeds)]
    trials = {trial.id: trial for trial in laid_out}  # once of what is the same for every number of shots
    about = " ".join(preset["about"].split()).format(epochs=settings.epochs, batch_size=settings.batch_size)
    entries = tasks.entries([*(c.name for c in columns), *learned_on, *settings.targets], settings.data)
    tasks.check([entry.name for entry in entries], settings.data)
    return Plan("fewshot", asked.preset, about, settings, entries, variants, tuple(trials.values()))


def _stages(preset: Mapping[str, Any], asked: Asked) -> list[Stage]:
    """The stages that are asked for, each once. Raises `OptionError` for unknown ones, and for shots that cannot be."""
    own: dict[str, Sequence[int]] = {SHOTS: preset.get("shots", []), BASE_TO_NEW: [preset.get("base_to_new", 16)],
           TRANSFER: [(preset.get("transfer") or {}).get("shots", 16)]}  # fmt: skip
    default = [kind for kind, key in zip(KINDS, ("shots", "base_to_new", "transfer"), strict=True) if key in preset]
    kinds = list(asked.stages or ([SHOTS] if asked.shots else default))
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("stage", kind, KINDS)
    shots = {**own, SHOTS: asked.shots or own[SHOTS]}
    if wrong := [k for kind in kinds for k in shots[kind] if k < 1]:
        raise OptionError(f"shots: {', '.join(map(str, wrong))} given; accepted: 1, 2, 3, ... images per class")
    return list(dict.fromkeys(Stage(kind, k) for kind in KINDS if kind in kinds for k in sorted(shots[kind])))


def _transfer(stages: Sequence[Stage], names: Sequence[str], settings: Settings) -> list[str]:
    """Names of tasks, where the plan transfers at all."""
    if not any(stage.kind == TRANSFER for stage in stages):
        return []
    try:
        return [entry.name for entry in tasks.entries(names, settings.data)]
    except OptionError as error:
        raise OptionError(f"transfer: {error}; or leave transfer out by --stages, or give --from and --to") from error


def _validate(settings: Settings, stages: Sequence[Stage]) -> None:
    """Raise `OptionError` for settings that cannot be; nothing is searched in few-shot trials."""
    named = [name for recipe in settings.recipes.values() for name in recipe.epochs if Stage.is_name(name)]
    settings.validate(list(dict.fromkeys([*(stage.name for stage in stages), *named])))
    if wrong := [name for name, recipe in settings.recipes.items() if recipe.searches]:
        raise OptionError(
            f"recipes: {', '.join(wrong)} with more than one learning rate or weight decay; accepted: one of each, "
            "since few-shot trials choose nothing on validation images"
        )


def _lay_out(settings: Settings, task: str, variant: Variant, stage: Stage, seeds: Sequence[int]) -> Iterator[Trial]:
    """The trials of one method on one task in one stage: one per seed."""
    name = settings.recipe_of(variant.method)
    (lr,), (decay,) = settings.recipes[name].lr, settings.recipes[name].weight_decay
    if variant.method in UNLEARNED:
        stage, seeds = replace(stage, shots=0), seeds[:1]
    for seed in seeds:
        yield Trial(task, variant.label, stage.name, variant.method, name, seed, variant.options, lr, decay)
