"""The sources by name, and `load_task`, the way in to all of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vpt.data.fewshot import few_shot
from vpt.data.task import Task
from vpt.errors import DataError, OptionError, nearest, unknown

Load = Callable[..., Task]
"""`load(root: Path | None, name: str | None, *, option=..., ...) -> Task`"""

_sources: dict[str, Load] = {}
_COMMON = ("shots", "seed")


def source(name: str) -> Callable[[Load], Load]:
    """Registers a function as the source `name`. Its keyword-only arguments are the source's options."""

    def register(load: Load) -> Load:
        _sources[name] = load
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
    shots: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Task:
    """The task `name` of a source.

    `root` is the folder (or CSV file) it lies in, None for "embedded". With `shots` the training set is cut down to
    that many images per class, drawn by `seed`; validation and test stay. `options` are the source's own, such as
    `val_fraction` and `split_seed` where it has no validation set.
    Raises `OptionError` for wrong options and `DataError` for images or labels that cannot be used.
    """
    if source not in names():
        raise unknown("source", source, names())
    load = _sources[source]
    _check_options(source, load, options)
    task = load(_existing(root), name, **options)
    if shots is None:
        return task
    splits = {**task.splits, "train": f"{shots} images per class of {task.splits.get('train', 'train')}, seed {seed}"}
    return replace(task, train=few_shot(task.train, shots, seed), whole=None, splits=splits)


def _check_options(source: str, load: Load, given: dict[str, Any]) -> None:
    parameters = inspect.signature(load).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return  # it checks them itself
    accepted = sorted([p.name for p in parameters if p.kind is p.KEYWORD_ONLY] + list(_COMMON))
    wrong = [f"{option!r}{nearest(option, accepted)}" for option in given if option not in accepted]
    if wrong:
        raise OptionError(f"source {source!r} has no option {', '.join(wrong)}; accepted: {', '.join(accepted)}")


def _existing(root: str | Path | None) -> Path | None:
    if root is not None and not Path(root).exists():
        raise DataError(f"{root}: there is no such file or folder")
    return None if root is None else Path(root)


def needs_root(source: str, root: Path | None) -> Path:
    """`root`, or an `OptionError` where a source cannot do without."""
    if root is None:
        raise OptionError(f"source {source!r} needs root: the place where its images lie")
    return root
