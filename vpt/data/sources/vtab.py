"""The VTAB folder layout: `<root>/<task>/{train800,val200,train800val200,test}.txt`, lines `<image path> <label>`."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.lossy import HEAD
from vpt.data.pictures import Files
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder, read_text
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.data.vtab.agreement import deviations, re_encoded
from vpt.data.vtab.table import TASKS, resolve
from vpt.errors import DataError, OptionError, nearest

_log = logging.getLogger("vpt")


def _tasks(root: Path | None) -> list[str]:
    return sorted(path.parent.name for path in needs_folder("vtab", root).glob("*/train800.txt"))


@source("vtab", tasks=_tasks)
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """The task in `root/name`, or in `root` itself where no name is given; any name of a task of VTAB-1K finds it.

    The number of classes comes from `classnames.json` if present, else from VTAB's own table, else from the labels of
    train and validation; a label outside of it raises `DataError`. In what a folder named like a task of VTAB-1K is
    not that task (sizes, classes, files that lost what a lossless original has) stands in the task's `deviations`.
    """
    folder = _folder(needs_folder("vtab", root), name)
    lists = {part: _read_list(folder, part) for part in ("train800", "val200", "test")}
    both = [*lists["train800"], *lists["val200"]]
    whole = _read_list(folder, "train800val200") if (folder / "train800val200.txt").exists() else both
    if sorted(label for _, label in whole) != sorted(label for _, label in both):
        raise DataError(f"{folder}/train800val200.txt does not have the labels of train800.txt and val200.txt together")
    classes = _classes(folder, [label for _, label in both])

    def images(part: str, lines: list[tuple[str, int]]) -> ImageSet:
        paths, labels = zip(*lines, strict=True)
        return ImageSet(f"{folder.name}/{part}", classes, labels, Files(paths, max_pixels), "vtab-folder")

    task = Task(
        folder.name,
        images("train", lists["train800"]),
        images("val", lists["val200"]),
        images("test", lists["test"]),
        images("trainval", whole),
        about=f"image files under {folder}",
        splits={"train": "train800.txt", "val": "val200.txt", "test": "test.txt", "trainval": "train800val200.txt"},
    )
    if folder.name not in TASKS:
        return task
    listed = dict.fromkeys(path for lines in (*lists.values(), whole) for path, _ in lines)
    lossy = re_encoded(TASKS[folder.name], map(_head, listed))
    for line in lossy:
        _warn(folder, line)
    return replace(task, deviations=(*deviations(task, TASKS[folder.name]), *lossy))


def _head(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(HEAD)


@cache
def _warn(folder: Path, line: str) -> None:
    """Once per folder, though searches load a task again and again."""
    _log.warning("%s: %s", folder, line)


def _folder(root: Path, name: str | None) -> Path:
    tasks = _tasks(root)
    if name is None:
        if not (root / "train800.txt").exists():
            raise OptionError(
                f"{root} holds no train800.txt; name one of its tasks: {', '.join(tasks) or 'none found'}"
            )
        return root.resolve()
    for known in (name, resolve(name)):
        if known in tasks:
            return root / known
    raise DataError(f"{root}: no task {name!r}{nearest(name, tasks)}; found: {', '.join(tasks) or 'none'}")


def _read_list(folder: Path, part: str) -> list[tuple[str, int]]:
    file = folder / f"{part}.txt"
    if not file.exists():
        raise DataError(f"{file}: there is no such file")
    lines, faults = [], []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.isdecimal():
            faults += [f"line {number}: {line!r} is not '<image path> <label>'"] if line.strip() else []
        elif not (folder / path).is_file():
            faults.append(f"line {number}: {path}: there is no such file")
        else:
            lines.append((str(folder / path), int(label)))
    if faults or not lines:
        raise DataError("\n  ".join([f"{file}: {len(faults)} bad lines, {len(lines)} good ones:", *faults]))
    return lines


def _count(name: str, labels: list[int]) -> int:
    return TASKS[name].classes if name in TASKS else max(labels) + 1


def _classes(folder: Path, labels: list[int]) -> list[str]:
    file = folder / "classnames.json"
    if not file.exists():
        return [str(c) for c in range(_count(folder.name, labels))]
    try:
        names = json.loads(read_text(file))
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: must be a list of class names, one per label")
    return names
