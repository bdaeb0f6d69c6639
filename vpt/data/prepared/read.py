"""`open_prepared` and `verify_prepared`: a prepared task back, and every byte of it checked."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vpt.data.imageset import ImageSet, Progress
from vpt.data.prepared.manifest import FILES, IMAGES, damaged, parts, read_manifest
from vpt.data.prepared.store import Prepared, Store
from vpt.data.task import Task
from vpt.errors import DataError

_CHUNK = 1 << 22  # bytes hashed between two reports of progress


def open_prepared(folder: str | Path) -> Task:
    """The task that was prepared into `folder`, with the source's route, names and digests; no pixels are read.

    Raises `DataError` naming all that is missing or damaged, as far as it can be told without reading the images.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    store = Store(folder.absolute(), manifest)

    def images(part: str) -> ImageSet:
        held = manifest.sets[part]
        return ImageSet(
            held["name"], manifest.classes, store.index[f"{part}_labels"], Prepared(store, part), held["route"]
        )

    return Task(
        manifest.name,
        images("train"),
        images("val"),
        images("test"),
        images("trainval") if "trainval" in manifest.sets else None,
        about=manifest.about,
        splits=dict(manifest.splits),
        deviations=tuple(manifest.deviations),
        prepared_with=dict(manifest.versions),
    )


def verify_prepared(folder: str | Path, progress: Progress | None = None) -> None:
    """Reads every byte of a prepared task (`progress` is told of bytes); raises `DataError` listing all faults.

    Files must have their SHA-256, images their checksums, labels must be classes, and the fingerprints of images and
    their labels must give the digests of the source.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    store = Store(folder.absolute(), manifest)
    total, before = sum(manifest.files[name]["bytes"] for name in FILES), 0
    faults: list[str] = []
    for name in FILES:
        try:
            faults += _file_at_fault(store, name, progress and partial(_report, progress, before, total))
        except OSError as error:
            faults.append(f"{name} cannot be read: {error}")
        before += manifest.files[name]["bytes"]
    faults = faults or _sets_at_fault(folder)
    if faults:
        raise damaged(folder, faults)


def _report(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _file_at_fault(store: Store, name: str, report: Callable[[int], None] | None) -> list[str]:
    """A line where a file is not the one that was written, which names the images whose bytes are others."""
    sizes, checks = _pieces(store, name)
    whole, wrong, told = hashlib.sha256(), [], 0
    with open(store.folder / name, "rb") as file:
        for number, size in enumerate(sizes):
            content = file.read(size)
            whole.update(content)
            if checks is not None and zlib.crc32(content) != checks[number]:
                wrong.append(number)
            if report and file.tell() >= told + _CHUNK:
                report(told := file.tell())
        if report:
            report(file.tell())
    if not wrong and whole.hexdigest() == store.manifest.files[name]["sha256"]:
        return []
    return [f"{name} was changed or damaged since it was written: its SHA-256 does not agree{_named(store, wrong)}"]


def _pieces(store: Store, name: str) -> tuple[list[int], NDArray[np.uint32] | None]:
    """The bytes of the parts that a file is read in, and their CRC-32 where these are images that the index knows."""
    if name == IMAGES:
        with suppress(DataError):  # told of the index itself
            return np.diff(store.index["starts"]).tolist(), store.index["checks"]
    size = store.manifest.files[name]["bytes"]
    return [min(_CHUNK, size - start) for start in range(0, size, _CHUNK)], None


def _named(store: Store, rows: list[int], most: int = 20) -> str:
    """`; other bytes have ...`, as far as the file of names can be read; nothing for no rows."""
    if not rows:
        return ""
    try:
        names = [store.describe(row) for row in rows[:most]]
    except DataError:
        names = [f"image {row}" for row in rows[:most]]
    more = f" and {len(rows) - most:,} more" if len(rows) > most else ""
    return f"; other bytes have {', '.join(names)}{more}"


def _sets_at_fault(folder: Path) -> list[str]:
    try:
        task = open_prepared(folder)
    except DataError as error:
        return [str(error)]
    held = read_manifest(folder).sets
    return [
        f"{part}: its digest is {images.digest()}, not {held[part]['digest']}"
        for part, images in parts(task).items()
        if images.digest() != held[part]["digest"]
    ]
