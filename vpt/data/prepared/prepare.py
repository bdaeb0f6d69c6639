"""`prepare`: write a task once, so that it opens at once and its images lie in one file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from vpt.data.arrays import forget_unfinished, whole_folder
from vpt.data.disk import unwritable
from vpt.data.imageset import Progress
from vpt.data.locks import hold
from vpt.data.pixels import Preprocessing
from vpt.data.prepared.manifest import is_prepared, parts, read_manifest
from vpt.data.prepared.writing import Writing
from vpt.data.task import Task
from vpt.errors import DataError, OptionError


def prepare(
    task: Task, folder: str | Path, preprocessing: Preprocessing | None = None, progress: Progress | None = None
) -> Path:
    """Write `task` into `folder` and answer the folder; where that holds it already, nothing is written.

    Without `preprocessing` nothing is lost: image files are kept as they are, other images as their pixels. With it,
    images are decoded and resized, to be read as rows of bytes, and serve this size and way of resizing alone.
    Every image is read and decoded once; twice where its pictures do not tell how their content is decoded.
    A reader sees all of the folder or nothing; an error leaves nothing behind, and what a killed process left goes.
    Where another process prepares the folder, it is waited for. A link to a folder stays, what it names is written.
    Images that test shares with train or val, and val with train, are told in the `deviations` of what is written.

    Raises `DataError` listing all images that cannot be decoded, for a folder that is a mount point, holds anything
    else or a damaged task, and for a full disk; `OptionError` for images that were resized already, in another way.
    """
    folder = Path(folder)
    resize = preprocessing.resizing() if preprocessing else None
    for images in parts(task).values():
        if images.resized() not in (None, resize):
            raise OptionError(f"{images.name}: was resized already ({images.resized()}); prepare it from its source")
    writing, target = Writing(task, preprocessing, progress), folder.resolve()
    try:
        written = not _is_used(target) and _write(target, writing)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not is_prepared(target):  # else one was faster
            raise unwritable(folder, error, writing.needed()) from error
        written = False
    return folder if written else _the_same(folder, task, resize)


def _is_used(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _write(folder: Path, writing: Writing) -> bool:
    """Whether the folder was written here: not where another process has done it while this one waited."""
    if os.path.ismount(folder):
        raise DataError(f"{folder}: is a mount point, whose place no finished folder can take; take a folder in it")
    with hold(folder.with_name(f".{folder.name}.lock")) as alone:
        if _is_used(folder):
            return False
        if alone:
            forget_unfinished(folder)
        with whole_folder(folder) as temporary:
            writing.write(temporary)
    return True


def _the_same(folder: Path, task: Task, resize: dict[str, Any] | None) -> Path:
    """`folder`, if it holds `task` with that resize; raises `DataError` saying in what it does not."""
    if not is_prepared(folder):
        raise DataError(f"{folder}: holds something other than a prepared task; take another folder, or empty it")
    manifest = read_manifest(folder)
    held = {"name": manifest.name, "classes": manifest.classes, "resize": manifest.resize}
    held |= {part: [facts["route"], facts["digest"]] for part, facts in manifest.sets.items()}
    given: dict[str, object] = {"name": task.name, "classes": list(task.classes), "resize": resize}
    given |= {part: [images.route, images.digest()] for part, images in parts(task).items()}
    differ = [
        f"{what}: {_brief(held.get(what))}, now {_brief(given.get(what))}"
        for what in held | given
        if held.get(what) != given.get(what)
    ]
    if differ:
        raise DataError("\n  ".join([f"{folder}: holds another task; remove it, or take another folder:", *differ]))
    return folder


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
