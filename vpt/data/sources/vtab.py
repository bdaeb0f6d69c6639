"""The VTAB folder layout: `<root>/<task>/{train800,val200,train800val200,test}.txt`, lines `<image path> <label>`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.pictures import Files
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder, read_text
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.data.vtab.agreement import deviations
from vpt.data.vtab.table import TASKS
from vpt.errors import DataError, OptionError, nearest

RE_ENCODED = (
    "images are JPEG re-encodings of a lossless original: accuracies are lower (CLIP zero-shot on CIFAR-100 by about "
    "20 points) and not comparable with those of the original pixels, as source 'tfds' gives them"
)

_log = logging.getLogger("vpt")


@source("vtab")
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """The task in `root/name`, or in `root` itself where no name is given.

    The number of classes comes from `classnames.json` if present, else from VTAB's own table, else from the labels of
    train and validation; a label outside of it raises `DataError`. In what a folder named like a task of VTAB-1K is
    not that task (sizes, classes, JPEG files of a lossless original) stands in the task's `deviations`.
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
    lossy = [RE_ENCODED] if _is_re_encoded(folder.name, (lines[0][0] for lines in lists.values())) else []
    if lossy:
        _warn(folder)
    return replace(task, deviations=(*deviations(task, TASKS[folder.name]), *lossy))


def _is_re_encoded(name: str, files: Iterable[str]) -> bool:
    """Whether one of `files` is a JPEG, by its content, in a task whose original was never compressed so."""
    return TASKS[name].lossless and any(Path(file).read_bytes().startswith(b"\xff\xd8\xff") for file in files)


@cache
def _warn(folder: Path) -> None:
    """Once per folder, though searches load a task again and again."""
    _log.warning("%s: %s", folder, RE_ENCODED)


def _folder(root: Path, name: str | None) -> Path:
    tasks = sorted(path.parent.name for path in root.glob("*/train800.txt"))
    if name is None:
        if not (root / "train800.txt").exists():
            raise OptionError(
                f"{root} holds no train800.txt; name one of its tasks: {', '.join(tasks) or 'none found'}"
            )
        return root.resolve()
    if name not in tasks:
        raise DataError(f"{root}: no task {name!r}{nearest(name, tasks)}; found: {', '.join(tasks) or 'none'}")
    return root / name


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
