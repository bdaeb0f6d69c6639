"""What a command line asks for, read onto a preset: settings, rows, seeds. Every mistake is named."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarks.suite.plan import Variant
from benchmarks.suite.settings import DEFAULT, Settings
from vpt.errors import OptionError, nearest, unknown
from vpt.methods import describe, names
from vpt.methods.method import Family
from vpt.runs.reading import first_line, malformed


def files(folder: Path) -> dict[str, Path]:
    """The YAML files of a folder by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def content(kind: str, name: str, known: Mapping[str, Path]) -> dict[str, Any]:
    """What is in one of the files. Raises `OptionError` for an unknown name."""
    if name not in known:
        raise unknown(kind, name, known)
    found: Any = OmegaConf.to_container(OmegaConf.load(known[name]))
    return dict(found)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `OptionError` for seeds that cannot be, or that are given twice."""
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise OptionError(f"seeds: {list(seeds)} given; accepted: different whole numbers from 0")


def settings_of(preset: Mapping[str, Any], overrides: Sequence[str], family: Family) -> Settings:
    """The preset's settings with overrides on top, not validated yet. Raises `OptionError` listing what is wrong.

    family: whose methods may have recipes.
    """
    node = OmegaConf.merge(OmegaConf.structured(Settings(recipes={})), _without_foreign_options(preset, overrides))
    faults = malformed(overrides) + _make_recipes(node, overrides, family)
    for item in overrides if not faults else ():
        try:
            node = OmegaConf.merge(node, OmegaConf.from_dotlist([item]))
        except Exception as error:  # OmegaConf lets the YAML parser's own errors through
            faults.append(f"{item}: {first_line(error)}{_hint(item, node)}")
    if faults:
        raise OptionError("settings:\n" + "\n".join(f"  {fault}" for fault in faults))
    settings: Settings = OmegaConf.to_object(node)  # type: ignore[assignment]
    return settings


def _make_recipes(node: Any, overrides: Sequence[str], family: Family) -> list[str]:
    """Give each method whose recipe an override is the first to name a copy of the default one; faults of names."""
    faults, known = [], names(family)
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


def variants_of(texts: Sequence[str], rows: Mapping[str, Any], family: Family) -> tuple[Variant, ...]:
    """The rows of the table called `texts`, or methods of a family with options: `deep:length=50,shared=true`.

    rows: of the preset, by label. Raises `OptionError` for an unknown row, method or option, or a row given twice.
    """
    variants = tuple(_variant(text, rows, family) for text in texts)
    if twice := {v.label for v in variants if [w.label for w in variants].count(v.label) > 1}:
        raise OptionError(f"methods: {', '.join(sorted(twice))} given twice")
    return variants


def _variant(text: str, rows: Mapping[str, Any], family: Family) -> Variant:
    name, _, further = text.partition(":")
    own: dict[str, Any] = dict(rows.get(name) or {})
    method = own.get("method", name)
    if method not in names(family):
        raise unknown("method", name, [*rows, *names(family)])
    options = {**own.get("options", {}), **_options(text, further)}
    describe(method, family).bind(options)
    label = re.sub(r"[^\w=+-]+", "-", text).strip("-")
    return Variant(label, method, options, own.get("axis"))


def _options(text: str, further: str) -> dict[str, Any]:
    """`a=1,b=first:3` as a dictionary; values are YAML."""
    pairs = re.split(r",(?=\w+=)", further) if further else []
    if wrong := [pair for pair in pairs if not re.match(r"\w+=.", pair)]:
        raise OptionError(f"methods: {text!r} given; {wrong[0]!r} is no option=value")
    found: Any = OmegaConf.to_container(OmegaConf.from_dotlist(pairs))
    return dict(found)
