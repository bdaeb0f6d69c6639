"""The sources by name, and `load_task`, the way in to all of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt.data.sources.options import ClassNames, Count, Flag, HalfName, Seed, ValCount, misfits
from vpt.data.sources.shaping import shape_faults, shaped
from vpt.data.task import Task
from vpt.errors import DataError, OptionError, nearest, unknown

Load = Callable[..., Task]
"""`load(root: Path | None, name: str | None, *, option=..., ...) -> Task`"""

Check = Callable[[str | None, Mapping[str, Any]], Iterable[str]]
"""`check(name, further)`: a line per fault in a task's name, and in options beyond the keyword-only arguments."""


Listing = Callable[[Path | None], list[str]]
"""`tasks(root)`: the names of all tasks, those found under `root` where that decides which there are."""


@dataclass(frozen=True)
class Source:
    """What loads a source's tasks, what checks names and options that its signature does not tell of, what lists tasks.

    tasks: None where any name may be one.
    """

    load: Load
    check: Check | None = None
    tasks: Listing | None = None


_sources: dict[str, Source] = {}


def source(name: str, check: Check | None = None, tasks: Listing | None = None) -> Callable[[Load], Load]:
    """Registers a function as the source `name`. Its keyword-only arguments are the source's options.

    Arguments annotated with a type of `vpt.data.sources.options` are held to it before the function is called.
    """

    def register(load: Load) -> Load:
        _sources[name] = Source(load, check, tasks)
        return load

    return register


def names() -> list[str]:
    """All sources, sorted."""
    package = importlib.import_module("vpt.data.sources")
    for module in pkgutil.iter_modules(package.__path__):  # every file beside this one registers itself
        importlib.import_module(f"vpt.data.sources.{module.name}")
    return sorted(_sources)


def load_task(
    source: str,
    root: str | Path | None,
    name: str | None = None,
    *,
    class_names: ClassNames | None = None,
    spoken: Flag = False,
    resplit: Count | None = None,
    resplit_seed: Seed = 0,
    half: HalfName | None = None,
    shots: Count | None = None,
    val_shots: ValCount | None = None,
    seed: Seed = 0,
    **options: Any,
) -> Task:
    """The task `name` of a source.

    `root` is the folder (or CSV file) it lies in, None for "embedded". `options` are the source's own, such as
    `val_fraction` and `split_seed` where it has no validation set. What follows happens in this order:

    class_names: other names for the classes: a list in the order of labels, `{old: new}`, or a file with either
        (`vpt.data.sources.class_names`). spoken: names as a text encoder reads them (`vpt.data.class_names.spoken`).
    resplit: divides all images anew, that many per class to train on, for tasks with too few (`vpt.data.resplit`).
    half: the "base" or the "new" half of the classes (`vpt.data.base_to_new`).
    shots: cuts the training set down to that many images per class, drawn by `seed`; test stays. So does validation,
        unless `val_shots` cuts it too: a number per class, or "auto", the few-shot protocol's min(shots, 4).

    Raises `OptionError` for wrong options and `DataError` for images or labels that cannot be used.
    """
    shape: dict[str, Any] = {
        "class_names": class_names, "spoken": spoken, "resplit": resplit, "resplit_seed": resplit_seed,
        "half": half, "shots": shots, "val_shots": val_shots, "seed": seed,
    }  # fmt: skip
    if wrong := faults(source, name, options | shape):
        raise OptionError("\n  ".join(wrong))
    try:
        return shaped(_sources[source].load(_existing(root), name, **options), **shape)
    except OSError as error:
        raise DataError(f"source {source!r} cannot read {root}: {error}") from error


def task_options() -> list[str]:
    """The options of `load_task` that every source's tasks take."""
    return _keyword_only(load_task)


def tasks_of(source: str, root: str | Path | None) -> list[str]:
    """The names of all tasks of a source, those under `root` where it is their folders that make them.

    Raises `OptionError` for a source that has no such list, `DataError` for a root that is not there.
    """
    if source not in names():
        raise unknown("source", source, names())
    listing = _sources[source].tasks
    if listing is None:
        able = ", ".join(name for name in names() if _sources[name].tasks)
        raise OptionError(f"source {source!r} has no list of tasks: name one; sources with a list: {able}")
    try:
        return listing(_existing(root))
    except OSError as error:
        raise DataError(f"source {source!r} cannot read {root}: {error}") from error


def faults(source: str, name: str | None, options: Mapping[str, Any]) -> list[str]:
    """One line per reason why `load_task(source, ..., name, **options)` would refuse; no image is looked at."""
    if source not in names():
        return [str(unknown("source", source, names()))]
    return list(_faults(source, name, options))


def _faults(source: str, name: str | None, options: Mapping[str, Any]) -> Iterator[str]:
    entry = _sources[source]
    parameters = list(inspect.signature(entry.load).parameters.values())
    accepted = sorted({*_keyword_only(entry.load), *_keyword_only(load_task)})
    further = {option: value for option, value in options.items() if option not in accepted}
    if further and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        wrong = ", ".join(f"{option!r}{nearest(option, accepted)}" for option in further)
        yield f"source {source!r} has no option {wrong}; accepted: {', '.join(accepted)}"
    for function in (entry.load, load_task):
        known = {option: options[option] for option in _keyword_only(function) if option in options}
        yield from (f"source {source!r}: {line}" for line in misfits(function, known))
    yield from (f"source {source!r}: {line}" for line in shape_faults(options))
    if entry.check is not None:
        yield from entry.check(name, further)


def _keyword_only(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _existing(root: str | Path | None) -> Path | None:
    if root is not None and not Path(root).exists():
        raise DataError(f"{root}: there is no such file or folder")
    return None if root is None else Path(root)
