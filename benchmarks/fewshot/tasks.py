"""The columns of the tables, and how their images are loaded: any source of `vpt.data` whose classes have names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.suite.plan import TaskEntry
from benchmarks.suite.settings import SourceConfig
from vpt.data import Task, load_task, vtab
from vpt.data.embedded import TASKS as EMBEDDED
from vpt.data.sources import faults, tasks_of
from vpt.data.sources import names as sources
from vpt.data.sources.coop_table import DATASETS
from vpt.errors import OptionError, nearest, unknown


def entries(names: Sequence[str], data: SourceConfig) -> tuple[TaskEntry, ...]:
    """The tasks called `names`, "all" for every one of the source; in the source's order.

    Raises `OptionError` where it is not said where images come from, or listing every unknown name.
    """
    known = _known(data)
    wanted = set(known if "all" in names else names)
    wrong = [f"{name!r}{nearest(name, known)}" for name in wanted if name not in known]
    if wrong or not wanted:
        accepted = ", ".join([*known, "all"])
        raise OptionError(f"tasks: {', '.join(sorted(wrong)) or 'none'} given; accepted with this source: {accepted}")
    return tuple(_entry(name, data) for name in known if name in wanted)


def _known(data: SourceConfig) -> list[str]:
    if not data.source:
        raise OptionError("images: none named; give --source coop --data ROOT, or --source embedded")
    if data.source not in sources():
        raise unknown("source", data.source, sources())
    if data.root is not None and not data.root.exists():
        raise OptionError(f"--data: {data.root} given; accepted: the folder of source {data.source!r}")
    try:
        return tasks_of(data.source, data.root)
    except OptionError:
        if data.root is None:
            raise
        return [data.root.stem]  # a source of one task, which lies there


def _entry(name: str, data: SourceConfig) -> TaskEntry:
    if name in DATASETS:
        return TaskEntry(name, DATASETS[name].title, "", DATASETS[name].classes, DATASETS[name].sizes[2])
    if name in vtab.TASKS:
        return TaskEntry(name, vtab.TASKS[name].title, "", vtab.TASKS[name].classes)
    return TaskEntry(name, name.capitalize(), "", len(EMBEDDED[name]().classes) if data.source == "embedded" else None)


def check(names: Iterable[str], data: SourceConfig) -> None:
    """Raise `OptionError` listing what the source would refuse of its options, before any image is looked at."""
    wrong = [line for name in names for line in faults(data.source, name, data.options)]
    if wrong:
        raise OptionError("data:\n  " + "\n  ".join(dict.fromkeys(wrong)))


def load(name: str, data: SourceConfig) -> Task:
    """The task's images, of which trials draw. Raises `DataError` where they cannot be used."""
    return load_task(data.source, data.root, name, **data.options)
