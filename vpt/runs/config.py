"""What a run is told: dataclasses that YAML files and `a.b=c` overrides fill, all mistakes reported at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpt.artifacts.save import jsonable
from vpt.errors import OptionError, nearest
from vpt.training.config import BOOKKEEPING, FitConfig


@dataclass
class BackboneConfig:
    """Which frozen model. `checkpoint` is a local weights file; `mean` and `std` correct what the model declares."""

    name: str = "embedded"
    checkpoint: Path | None = None
    image_size: int | None = None  # pixels; None: the model's own
    pretrained: bool = True
    mean: list[float] | None = None
    std: list[float] | None = None


@dataclass
class DataConfig:
    """Which images. `options` go to `vpt.data.load_task`: `shots`, `seed`, `val_fraction`, sizes of embedded tasks."""

    source: str = "embedded"
    name: str | None = None
    root: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    augment: str = "none"
    cache: Path | None = None  # folder for decoded images, used while nothing is augmented
    fit_on: str = "auto"  # "train", "trainval", or "auto": trainval once a search has used val, but not for few-shot


@dataclass
class PreprocessingConfig:
    """How images are resized; None leaves what the backbone declares."""

    interpolation: str | None = None
    antialias: bool | None = None


@dataclass
class MethodConfig:
    """What is learned: a name of `vpt methods`, the path, how the head starts, and the method's options."""

    name: str = "deep"
    path: str = "auto"
    head_init: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class SearchConfig:
    """Learning rates to try on val before the final training; none: `train.lr` is taken."""

    lr: list[float] = field(default_factory=list)
    epochs: int | None = None  # of each trial; None: as many as the final training


@dataclass
class RunConfig:
    """One method on one task. `seeds` lists the repetitions; `out` is the run's folder."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    train: FitConfig = field(default_factory=FitConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    seeds: list[int] = field(default_factory=lambda: [0])
    out: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able."""
        plain: dict[str, Any] = jsonable(asdict(self))
        return plain


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


def to_yaml(config: RunConfig) -> str:
    """The full configuration as YAML that `load_config` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(config.to_dict()))


def check(config: RunConfig) -> list[str]:
    """One line per value that cannot be: names of other layers, ranges, and combinations."""
    return [*_check_names(config), *_check_values(config), *(f"train.{line}" for line in config.train.problems())]


# --- reading --------------------------------------------------------------------------------------


def _given(file: Path | None, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What the user wrote, as one nested dict, and what of it could not even be read."""
    faults = [f"{item!r} is no override; write name=value" for item in overrides if not re.match(r"[^=\s]+=", item)]
    asked: Any = OmegaConf.create({})
    for item in overrides:
        try:
            asked = OmegaConf.merge(asked, OmegaConf.from_dotlist([item] if "=" in item else []))
        except Exception as error:  # OmegaConf lets the YAML parser's own errors through
            faults.append(f"{item!r} cannot be read: {_first_line(error)}")
    written = OmegaConf.create({}) if file is None else _read(file)
    try:
        faults += _drop_flat_sections(written)
        _drop_foreign_options(written, asked)
        content: Any = OmegaConf.to_container(OmegaConf.merge(written, asked), resolve=True)
    except OmegaConfBaseException as error:
        raise OptionError(f"wrong configuration: {_first_line(error)}") from error
    return content, faults


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
        yield f"{where}: {value!r} given: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


# --- checking -------------------------------------------------------------------------------------


def _check_names(config: RunConfig) -> Iterator[str]:
    from vpt.backbones.load import check_name
    from vpt.data.augment import PRESETS
    from vpt.data.pixels import INTERPOLATIONS
    from vpt.data.sources import faults
    from vpt.methods import describe
    from vpt.methods.heads import HEAD_INITS

    try:
        check_name(config.backbone.name)
    except OptionError as error:
        yield f"backbone.name: {error}"
    try:
        describe(config.method.name).bind(config.method.options)
    except OptionError as error:
        yield f"method: {error}"
    yield from (f"data: {fault}" for fault in faults(config.data.source, config.data.name, config.data.options))
    yield from _choice("data.fit_on", config.data.fit_on, ("auto", "train", "trainval"))
    yield from _choice("data.augment", config.data.augment, PRESETS)
    yield from _choice("method.path", config.method.path, ("auto", "hooks", "fused"))
    if config.method.head_init == "keep":
        yield "method.head_init: 'keep' given; a run loads its backbone without a head, so that there is none to keep"
    else:
        yield from _choice("method.head_init", config.method.head_init, [name for name in HEAD_INITS if name != "keep"])
    yield from _choice("preprocessing.interpolation", config.preprocessing.interpolation, (None, *INTERPOLATIONS))


def _check_values(config: RunConfig) -> Iterator[str]:
    if not config.seeds or len(set(config.seeds)) != len(config.seeds) or min(config.seeds) < 0:
        yield f"seeds: {config.seeds} given; accepted: one or more different whole numbers from 0"
    if config.train.seed != 0:
        yield f"train.seed: {config.train.seed} given; the seeds of a run stand in seeds=[...]"
    if not all(0 < lr < math.inf for lr in config.search.lr) or len(set(config.search.lr)) != len(config.search.lr):
        yield f"search.lr: {config.search.lr} given; accepted: different numbers above 0"
    if config.search.epochs is not None and config.search.epochs < 1:
        yield f"search.epochs: {config.search.epochs} given; accepted: a whole number from 1, or null"
    for name in ("mean", "std"):
        values = getattr(config.backbone, name)
        if values is not None and (len(values) != 3 or (name == "std" and min(values) <= 0)):
            yield f"backbone.{name}: {values} given; accepted: three numbers{', above 0' if name == 'std' else ''}"
    if config.backbone.image_size is not None and config.backbone.image_size < 1:
        yield f"backbone.image_size: {config.backbone.image_size} given; accepted: a whole number of pixels from 1"


def _choice(where: str, value: str | None, accepted: Sequence[str | None] | Mapping[str, Any]) -> Iterator[str]:
    if value not in accepted:
        names = ["null" if name is None else name for name in accepted]
        yield f"{where}: {value!r} given{nearest(str(value), names)}; accepted: {', '.join(names)}"


INCIDENTAL = frozenset({"out", "data.cache", *(f"train.{name}" for name in BOOKKEEPING)})
"""Fields that change where a run writes and what it costs, never its result."""


def differences(a: RunConfig, b: RunConfig) -> list[str]:
    """Names of the fields in which two configurations differ, the `INCIDENTAL` ones left aside."""
    return sorted(_differing(a.to_dict(), b.to_dict(), ""))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], at: str) -> Iterator[str]:
    for key in {*a, *b}:
        if f"{at}{key}" in INCIDENTAL:
            continue
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            yield from _differing(x, y, f"{at}{key}.")
        elif x != y:
            yield f"{at}{key} ({x!r}, now {y!r})"
