"""`open_prepared` and `verify_prepared`: a prepared task back, and every byte of it checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vpt.data.imageset import ImageSet, Progress
from vpt.data.prepared.manifest import FILES, damaged, parts, read_manifest
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
    )


def verify_prepared(folder: str | Path, progress: Progress | None = None) -> None:
    """Reads every byte of a prepared task (`progress` is told of bytes); raises `DataError` listing all faults.

    Files must have their SHA-256, labels must be classes, and images and labels must give the digests of the source.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    total = sum(manifest.files[name]["bytes"] for name in FILES)
    faults, before = [], 0
    for name in FILES:
        found = _hash(folder / name, before, total, progress)
        before += manifest.files[name]["bytes"]
        if found != manifest.files[name]["sha256"]:
            faults.append(f"{name} was changed or damaged since it was written: its SHA-256 does not agree")
    faults = faults or _sets_at_fault(folder)
    if faults:
        raise damaged(folder, faults)


def _hash(path: Path, before: int, total: int, progress: Progress | None) -> str:
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            if progress:
                progress(before + file.tell(), total)
    return whole.hexdigest()


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
