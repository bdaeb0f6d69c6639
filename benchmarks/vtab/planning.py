"""From a preset and what the command line says to a `Plan`."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarks.suite.plan import Plan, Variant, lay_out
from benchmarks.suite.settings import DEFAULT, Settings
from benchmarks.suite.trial import SEARCH
from benchmarks.vtab import lengths, tasks
from vpt.errors import OptionError, nearest, unknown
from vpt.methods import describe, names
from vpt.runs.reading import first_line, malformed

HERE = Path(__file__).parent
PRESETS = {path.stem: path for path in sorted((HERE / "presets").glob("*.yaml"))}
ABLATIONS = {path.stem: path for path in sorted((HERE / "ablations").glob("*.yaml"))}


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
    preset = _read("preset", asked.preset, PRESETS)
    ablation = None if asked.ablation is None else _read("ablation", asked.ablation, ABLATIONS)
    settings = _settings(preset["settings"], asked.overrides)
    rows = preset["variants"] if ablation is None else ablation["variants"]
    chosen = asked.methods or (preset["methods"] if ablation is None else list(rows))
    seeds = list(asked.seeds or preset["seeds"])
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise OptionError(f"seeds: {seeds} given; accepted: different whole numbers from 0")
    tasks.check_source(settings.data)
    columns = tasks.entries(asked.tasks or preset.get("tasks", ["all"]), settings.data)
    tasks.check(columns, settings.data)
    variants = tuple(_variant(text, rows) for text in chosen)
    if twice := {v.label for v in variants if [w.label for w in variants].count(v.label) > 1}:
        raise OptionError(f"methods: {', '.join(sorted(twice))} given twice")
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


def _read(kind: str, name: str, known: Mapping[str, Path]) -> dict[str, Any]:
    if name not in known:
        raise unknown(kind, name, known)
    content: Any = OmegaConf.to_container(OmegaConf.load(known[name]))
    return dict(content)


def _settings(preset: Mapping[str, Any], overrides: Sequence[str]) -> Settings:
    """The preset's settings with overrides on top. Raises `OptionError` listing what is wrong."""
    node = OmegaConf.merge(OmegaConf.structured(Settings(recipes={})), _without_foreign_options(preset, overrides))
    faults = malformed(overrides) + _make_recipes(node, overrides)
    for item in overrides if not faults else ():
        try:
            node = OmegaConf.merge(node, OmegaConf.from_dotlist([item]))
        except Exception as error:  # OmegaConf lets the YAML parser's own errors through
            faults.append(f"{item}: {first_line(error)}{_hint(item, node)}")
    if faults:
        raise OptionError("settings:\n" + "\n".join(f"  {fault}" for fault in faults))
    settings: Settings = OmegaConf.to_object(node)  # type: ignore[assignment]
    settings.validate()
    return settings


def _make_recipes(node: Any, overrides: Sequence[str]) -> list[str]:
    """Give each method whose recipe an override is the first to name a copy of the default one; faults of names."""
    faults, known = [], names("timm")
    for name in dict.fromkeys(item.split(".")[1].split("=")[0] for item in overrides if item.startswith("recipes.")):
        if name in known and name not in node.recipes:
            node.recipes[name] = copy.deepcopy(node.recipes[DEFAULT])
        elif name not in node.recipes:
            accepted = ", ".join([DEFAULT, *known])
            faults.append(f"recipes.{name}: no method{nearest(name, known)}; accepted: {accepted}")
    return faults


def _without_foreign_options(preset: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The options of a preset's data are those of its own source: they go where an override names another."""
    data = dict(preset.get("data", {}))
    named = [item.partition("=")[2].strip("\"'") for item in overrides if item.startswith("data.source=")]
    if named and named[-1] != data.get("source"):
        data.pop("options", None)
    return {**preset, "data": data}


def _hint(item: str, node: Any) -> str:
    """The nearest field to the first unknown one of an override's path."""
    for key in item.split("=")[0].split("."):
        if not isinstance(node, DictConfig) or key not in node:
            accepted = [str(name) for name in node] if isinstance(node, DictConfig) else []
            return f"{nearest(key, accepted)}; accepted: {', '.join(accepted)}" if accepted else ""
        node = node[key]
    return ""


def _variant(text: str, rows: Mapping[str, Any]) -> Variant:
    """The row of the table called `text`, or a method of the toolkit with options: `deep:length=50,shared=true`."""
    name, _, further = text.partition(":")
    if name not in rows and name not in names("timm"):
        raise unknown("method", name, [*rows, *names("timm")])
    own: dict[str, Any] = dict(rows.get(name) or {})
    options = {**own.get("options", {}), **_options(text, further)}
    method = own.get("method", name)
    describe(method).bind(options)
    label = re.sub(r"[^\w=+-]+", "-", text).strip("-")
    return Variant(label, method, options, own.get("axis"))


def _options(text: str, further: str) -> dict[str, Any]:
    """`a=1,b=first:3` as a dictionary; values are YAML."""
    pairs = re.split(r",(?=\w+=)", further) if further else []
    if wrong := [pair for pair in pairs if not re.match(r"\w+=.", pair)]:
        raise OptionError(f"methods: {text!r} given; {wrong[0]!r} is no option=value")
    found: Any = OmegaConf.to_container(OmegaConf.from_dotlist(pairs))
    return dict(found)


def _for_task(variant: Variant, task: str) -> Variant:
    """The variant on one task: options that say "per-task" get their value."""
    options = {n: lengths.length(task) if value == "per-task" else value for n, value in variant.options.items()}
    return replace(variant, options=options)


def selected(whole: Plan, asked: Plan) -> list[Any]:
    """The trials of `whole`, a folder's plan, that `asked` names; in its order."""
    wanted = {trial.id for trial in asked.trials}
    return [trial for trial in whole.trials if trial.id in wanted]
