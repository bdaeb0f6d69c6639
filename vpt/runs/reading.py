"""Configurations from YAML files and `a.b=c` overrides, all mistakes reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpt.errors import OptionError, nearest
from vpt.runs.checks import check
from vpt.runs.config import DataConfig, MethodConfig, RunConfig


def load_config(file: Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a YAML file (or the defaults), with `a.b=c` overrides on top, checked as a whole.

    Raises one `OptionError` that lists everything that is wrong, each with the nearest valid name.
    """
    given, faults = _given(file, overrides)
    node = OmegaConf.structured(RunConfig)
    faults += _assign(node, given)
    for name in sorted(OmegaConf.missing_keys(node)):
        faults.append(f"{name}: must be given, e.g. {name}=...")
        OmegaConf.update(node, name, None)
    config: RunConfig = OmegaConf.to_object(node)  # type: ignore[assignment]
    faults += check(config)
    if faults:
        raise OptionError("wrong configuration:\n" + "\n".join(f"  {fault}" for fault in faults))
    return config


def from_dict(content: Mapping[str, Any]) -> RunConfig:
    """A configuration from `RunConfig.to_dict()`, e.g. out of `result.json`. Raises `OptionError`."""
    node = OmegaConf.structured(RunConfig)
    if faults := list(_assign(node, dict(content))):
        raise OptionError("wrong configuration:\n" + "\n".join(f"  {fault}" for fault in faults))
    config: RunConfig = OmegaConf.to_object(node)  # type: ignore[assignment]
    return config


def _given(file: Path | None, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What the user wrote, as one nested dict, and what of it could not even be read."""
    faults = malformed(overrides)
    asked: Any = OmegaConf.create({})
    for item in overrides:
        try:
            asked = OmegaConf.merge(asked, OmegaConf.from_dotlist([item] if "=" in item else []))
        except Exception as error:  # OmegaConf lets the YAML parser's own errors through
            faults.append(f"{item!r} cannot be read: {first_line(error)}")
    written = OmegaConf.create({}) if file is None else _read(file)
    try:
        faults += _drop_flat_sections(written)
        _drop_foreign_options(written, asked)
        content: Any = OmegaConf.to_container(OmegaConf.merge(written, asked), resolve=True)
    except OmegaConfBaseException as error:
        raise OptionError(f"wrong configuration: {first_line(error)}") from error
    return content, faults


def malformed(overrides: Sequence[str]) -> list[str]:
    """A line per override that is not of the form `name=value`."""
    return [f"{item!r} is no override; write name=value" for item in overrides if not re.match(r"[^=\s]+=", item)]


def _drop_flat_sections(written: DictConfig) -> Iterator[str]:
    """Faults of a file such as `method: deep`, which an override of `method.name` would hide by replacing it."""
    sections = OmegaConf.structured(RunConfig)
    for name in [n for n in sections if n in written and is_dataclass(OmegaConf.get_type(sections, n))]:
        if not isinstance(written[name], DictConfig):
            yield _flat(name, written.pop(name), sections[name])


def _drop_foreign_options(written: DictConfig, asked: Any) -> None:
    """The options in a file are those of its own method and source: they go where an override names another."""
    for field_name, default in (("method.name", MethodConfig.name), ("data.source", DataConfig.source)):
        section = field_name.split(".")[0]
        theirs = OmegaConf.select(asked, field_name)
        if theirs not in (None, OmegaConf.select(written, field_name, default=default)) and section in written:
            written[section].pop("options", None)


def _read(file: Path) -> DictConfig:
    if not file.is_file():
        raise OptionError(f"there is no configuration file {str(file)!r}")
    try:
        content = OmegaConf.load(file)
    except Exception as error:
        raise OptionError(f"{file} is not YAML: {error}") from error
    if not isinstance(content, DictConfig):
        raise OptionError(f"{file} must hold names and values, not a list")
    return content


def _assign(node: DictConfig, given: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Put `given` into a structured node field by field; one line per field that does not exist or does not fit."""
    for key, value in given.items():
        where = f"{at}{key}"
        accepted = [str(name) for name in node]
        if key not in accepted:
            yield f"{where}: no such field{nearest(str(key), accepted)}; accepted: {', '.join(accepted)}"
        elif is_dataclass(OmegaConf.get_type(node, key)):
            if isinstance(value, Mapping):
                yield from _assign(node[key], value, f"{where}.")
            else:
                yield _flat(where, value, node[key])
        else:
            yield from _set(node, key, value, where)


def _flat(where: str, value: Any, section: DictConfig) -> str:
    return f"{where}: {value!r} given; accepted: fields of its own ({', '.join(map(str, section))})"


def _set(node: DictConfig, key: str, value: Any, where: str) -> Iterator[str]:
    try:
        OmegaConf.update(node, key, MISSING if value == "???" else value, merge=False)
    except OmegaConfBaseException as error:
        yield f"{where}: {value!r} given: {first_line(error)}"


def first_line(error: Exception) -> str:
    """What OmegaConf has to say, without where in its own tree."""
    return str(error).strip().split("\n")[0]
