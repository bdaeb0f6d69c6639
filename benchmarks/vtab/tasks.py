"""The columns of the table, and how their images are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.suite.plan import TaskEntry
from benchmarks.suite.settings import SourceConfig
from vpt.data import Task, load_task, vtab
from vpt.data.embedded import TASKS as EMBEDDED
from vpt.data.sources import faults
from vpt.errors import DataError, OptionError, nearest, unknown

SOURCES = {
    "folder": "vtab", "tfds": "tfds", "wds": "wds", "torchvision": "vtab-torchvision", "prepared": "prepared",
    "embedded": "embedded",
}  # fmt: skip
"""The command line's names of sources, and theirs in `vpt.data.sources`."""

_EMBEDDED_GROUPS = {"digits": "natural"}  # the others are rendered: structured


def entries(names: Sequence[str], data: SourceConfig) -> tuple[TaskEntry, ...]:
    """The tasks called `names`; a group stands for its tasks, "all" for every one. In the order of the table.

    Raises `OptionError` listing every unknown name.
    """
    known = {entry.name: entry for entry in _known(data)}
    chosen, wrong = set[str](), list[str]()
    for name in names:
        own = name if data.source == "embedded" else vtab.resolve(name)
        members = {e.name for e in known.values() if own in (e.name, e.group, "all")}
        chosen |= members
        if not members:
            wrong.append(f"{name!r}{nearest(name, [*known, *vtab.GROUPS])}")
    if wrong or not chosen:
        accepted = ", ".join([*known, *vtab.GROUPS, "all"])
        raise OptionError(f"tasks: {', '.join(wrong) or 'none'} given; accepted with this source: {accepted}")
    return tuple(entry for name, entry in known.items() if name in chosen)


def _known(data: SourceConfig) -> Iterator[TaskEntry]:
    if data.source == "embedded":
        for name in EMBEDDED:
            yield TaskEntry(name, name.capitalize(), _EMBEDDED_GROUPS.get(name, "structured"), None)
        return
    for spec in vtab.TASKS.values():
        test = None if data.own_splits else spec.test_images
        yield TaskEntry(spec.name, spec.title, spec.group, spec.classes, test)


def check_source(data: SourceConfig) -> None:
    """Raise `OptionError` where it is not said where images come from, or nothing is there."""
    if not data.source:
        raise OptionError(f"images: none named; give --data ROOT --source {' | '.join(SOURCES)}, or --source embedded")
    if data.source not in SOURCES:
        raise unknown("source", data.source, SOURCES)
    if data.source != "embedded" and (data.root is None or not data.root.exists()):
        raise OptionError(f"--data: {data.root or 'nothing'} given; accepted: the folder of source {data.source!r}")


def check(columns: Sequence[TaskEntry], data: SourceConfig) -> None:
    """Raise `OptionError` listing what the source would refuse of its options, before any image is looked at."""
    wrong = [line for task in columns for line in faults(SOURCES[data.source], task.name, data.options)]
    if wrong:
        raise OptionError("data:\n  " + "\n  ".join(dict.fromkeys(wrong)))


def load(name: str, data: SourceConfig) -> Task:
    """The task's images. Raises `DataError` where they are not as many as VTAB-1K's, but for `own_splits`."""
    task = load_task(SOURCES[data.source], data.root, name, **data.options)
    if name not in vtab.TASKS:
        return task
    found = tuple(vtab.deviations(task, vtab.get(name)))
    if found and not data.own_splits:
        lines = "\n  ".join([f"{name}: these are not VTAB-1K's images:", *found])
        raise DataError(f"{lines}\n  give --own-splits to take them as they are; every result then says so")
    return replace(task, deviations=tuple(dict.fromkeys((*task.deviations, *found))))
