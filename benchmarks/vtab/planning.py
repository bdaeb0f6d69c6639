"""From a preset and what the command line says to a `Plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.suite.asking import check_seeds, content, files, settings_of, variants_of
from benchmarks.suite.plan import Plan, Variant, lay_out
from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import SEARCH
from benchmarks.vtab import lengths, tasks

HERE = Path(__file__).parent
PRESETS = files(HERE / "presets")
ABLATIONS = files(HERE / "ablations")


@dataclass(frozen=True)
class Asked:
    """What the command line says; None and empty leave what the preset says.

    methods: names, or `name:option=value,...`. overrides: `a.b=c` of `Settings`.
    """

    preset: str = "paper"
    ablation: str | None = None
    tasks: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()
    overrides: Sequence[str] = field(default=())


def make_plan(asked: Asked) -> Plan:
    """The plan of tasks x variants x grid x seeds. Raises one `OptionError` per kind of mistake, each naming all."""
    preset = content("preset", asked.preset, PRESETS)
    ablation = None if asked.ablation is None else content("ablation", asked.ablation, ABLATIONS)
    settings = settings_of(preset["settings"], asked.overrides, "timm")
    settings.validate()
    rows = preset["variants"] if ablation is None else ablation["variants"]
    chosen = asked.methods or (preset["methods"] if ablation is None else list(rows))
    seeds = list(asked.seeds or preset["seeds"])
    check_seeds(seeds)
    tasks.check_source(settings.data)
    columns = tasks.entries(asked.tasks or preset.get("tasks", ["all"]), settings.data)
    tasks.check(columns, settings.data)
    variants = variants_of(chosen, rows, "timm")
    trials = [
        trial
        for task in columns
        for variant in variants
        for trial in lay_out(settings, task.name, _for_task(variant, task.name), seeds, preset["seeds"][0])
    ]
    about, about_ablation = _about(preset["about"], settings), None
    if ablation is not None:
        about += " Ablation: methods have their own defaults (10 prompts, no dropout) but for what a row names."
        about_ablation = {"name": asked.ablation, "title": ablation["title"], "axis": ablation["axis"]}
    return Plan("vtab", asked.preset, about, settings, columns, variants, tuple(trials), about_ablation)


def _about(text: str, settings: Settings) -> str:
    """What a preset says of itself, with what the command line made of it."""
    told = {"epochs": settings.epochs, "search_epochs": settings.epochs_of(SEARCH), "batch_size": settings.batch_size}
    return text.strip().format(**told)


def _for_task(variant: Variant, task: str) -> Variant:
    """The variant on one task: options that say "per-task" get their value."""
    options = {n: lengths.length(task) if value == "per-task" else value for n, value in variant.options.items()}
    return replace(variant, options=options)
