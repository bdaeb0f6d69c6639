"""A gate: what a version of a task in a library must reach on images before it is approved."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vpt.artifacts.library import Library, Version
from vpt.artifacts.save import jsonable
from vpt.data import ImageDataset, ImageSet
from vpt.errors import DataError, OptionError, VptError, some, unknown
from vpt.runs.config import DataConfig
from vpt.runs.prepare import prepare_task
from vpt.runs.reading import from_dict
from vpt.runs.restore import restore
from vpt.runs.run import METRICS
from vpt.training import evaluate


@dataclass(frozen=True)
class Gate:
    """What an approval takes.

    data, split: which images; require: the least of each metric, in [0, 1], e.g. `{"accuracy": 0.8}`.
    not_worse: by how much each of `METRICS` may lie below that of the current version; None: it is not compared.
    images, digest: how many images there were when the gate was set, and their digest: it stays the same examination.
    """

    data: DataConfig
    split: str
    require: dict[str, float]
    not_worse: float | None
    images: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able."""
        plain: dict[str, Any] = jsonable(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Gate:
        """From `to_dict()`, as the log of a library has it."""
        data = from_dict({"data": content["data"]}).data
        return cls(**{**content, "data": data})


@dataclass(frozen=True)
class Where:
    """Where the gate's images lie now, and the backbone of what is to be approved, if not where their records say."""

    root: Path | None = None
    backbone: str | None = None
    checkpoint: Path | None = None
    tokenizer: Path | None = None


HERE = Where()


def requirements(texts: Sequence[str]) -> dict[str, float]:
    """`["accuracy>=0.8"]` as `{"accuracy": 0.8}`. Raises `OptionError`."""
    found: dict[str, float] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\w+)\s*>=\s*([\d.eE+-]+)\s*", text)
        if match is None:
            raise OptionError(f"{text!r} is no requirement; accepted: METRIC>=NUMBER, e.g. 'accuracy>=0.8'")
        if match[1] not in METRICS:
            raise unknown("metric", match[1], METRICS)
        if match[1] in found:
            raise OptionError(f"{text!r} given, and {match[1]} >= {found[match[1]]:g} too; accepted: each metric once")
        found[match[1]] = _fraction(text, match[2])
    return found


def set_gate(
    library: Library,
    task: str,
    data: DataConfig,
    require: Mapping[str, float],
    *,
    split: str = "test",
    not_worse: float | None = None,
    why: str = "",
    by: str | None = None,
) -> Gate:
    """Set the gate of a task, once all its images have been decoded. Raises `OptionError`, `DataError`."""
    if not require and not_worse is None:
        raise OptionError("the gate asks for nothing; give requirements such as 'accuracy>=0.8', or how much worse")
    if not_worse is not None:
        _fraction("how much worse", not_worse)
    library.versions(task)
    found = images(data, split)
    gate = Gate(_absolute(data), split, dict(require), not_worse, len(found), found.digest())
    library.set_gate(task, gate.to_dict(), why=why, by=by)
    return gate


def approve(
    library: Library,
    task: str,
    number: int,
    *,
    why: str = "",
    by: str | None = None,
    force: bool = False,
    where: Where = HERE,
) -> Version:
    """Approve a version that passes the gate of its task; with `force` any, `why` then being needed.

    The log says what was measured and asked for, that it was forced, or that there was no gate.
    Raises `OptionError` with the figures where it does not pass.
    """
    if force and not why.strip():
        raise OptionError(f"{task} {number}: approved by force: say why")
    return library.approve(task, number, why=why, by=by, checks=check(library, task, number, force=force, where=where))


def check(
    library: Library, task: str, number: int, *, force: bool = False, where: Where = HERE
) -> dict[str, Any] | None:
    """What a version reaches on the gate of its task, JSON-able; None where there is no gate.

    gate: the entry of the log that set it; digest: of the version; current: the number of the one that was current.
    figures: each of `METRICS`; against: those of the current version, where it was compared; failed: what is not as
    asked for, in words; forced. With `force` what cannot be measured is a failure, too; else it is an error.
    """
    state = library.state(task)
    version, entry = state.version(task, number), state.gate
    if entry is None:
        return None
    try:
        result = _examine(library, version, state.current, Gate.from_dict(entry.facts["gate"]), where)
    except VptError as error:
        if not force:
            raise
        result = Examined(failed=[f"not measured: {error}"])
    facts = {"gate": entry.number, "digest": version.digest, "current": state.current_number}
    return {**facts, **asdict(result), "forced": force}


@dataclass
class Examined:
    """What was measured, and what of it is not as asked for; as `check` answers."""

    figures: dict[str, float] = field(default_factory=dict)
    against: dict[str, float] | None = None
    failed: list[str] = field(default_factory=list)


def _examine(library: Library, version: Version, current: Version | None, gate: Gate, where: Where) -> Examined:
    data = gate.data if where.root is None else replace(gate.data, root=where.root)
    found = images(data, gate.split)
    if found.digest() != gate.digest:
        raise DataError(
            f"these are not the images that the gate of {version.task} was set with: {len(found)} images of digest "
            f"{found.digest()[:16]}, then {gate.images} of {gate.digest[:16]}; set the gate again"
        )
    result = Examined(_measure(library, version, found, where))
    for name, least in gate.require.items():
        if result.figures[name] < least:
            result.failed.append(f"{name} is {result.figures[name]:.4f}, and must be {least:g} or more")
    if gate.not_worse is not None and current is not None and current != version:
        same = current.fingerprint == version.fingerprint  # what was said of the one's backbone holds for the other's
        result.against = _measure(library, current, found, where if same else HERE)
        result.failed += [
            f"{name} is {result.figures[name]:.4f}, and {value:.4f} with {current}, which is current"
            for name, value in result.against.items()
            if result.figures[name] < value - gate.not_worse
        ]
    return result


def images(data: DataConfig, split: str) -> ImageSet:
    """A split of a task, every image of which was decoded once. Raises `OptionError`, `DataError`."""
    sets = prepare_task(data, quiet=True).sets()
    if split not in sets:
        raise unknown("split", split, sets)
    return sets[split]


def _measure(library: Library, version: Version, found: ImageSet, where: Where) -> dict[str, float]:
    saved = restore(
        library.open(version.task, version.number),
        backbone=where.backbone,
        checkpoint=where.checkpoint,
        tokenizer=where.tokenizer,
    )
    if list(found.classes) != saved.classes:
        raise OptionError(f"the gate's images have the classes {some(found.classes)}; {version}: {some(saved.classes)}")
    result = evaluate(saved.model, ImageDataset(found, saved.preprocessing))
    return {name: float(getattr(result, name)) for name in METRICS}


def _fraction(what: str, value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise OptionError(f"{what}: {value} given; accepted: a fraction from 0 to 1")
    return number


def _absolute(data: DataConfig) -> DataConfig:
    """The same, wherever it is asked from."""
    return data if data.root is None else replace(data, root=data.root.absolute())
