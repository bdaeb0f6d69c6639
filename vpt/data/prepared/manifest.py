"""`manifest.json` of a prepared task: what the folder holds, checked before anything else is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vpt.data.decode import RULES
from vpt.data.imageset import ImageSet
from vpt.data.task import Task
from vpt.errors import DataError

SCHEMA = 2
"""Version of the format; a reader takes this one alone."""

MANIFEST, IMAGES, INDEX, NAMES = "manifest.json", "images.bin", "index.npz", "names.json"
FILES = (IMAGES, INDEX, NAMES)


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`. Down to `deviations` it is what a `Task` says of itself.

    sets: for each of train, val, test and, where the source has it, trainval: `{"name", "route", "images", "digest"}`.
    resize: `Preprocessing.resizing` where the images were resized once; None where they lie as their source has them.
    largest: pixels of the largest image. versions: of what decoded and resized the images. files: name ->
    `{"bytes", "sha256"}`.
    """

    name: str
    about: str
    classes: list[str]
    splits: dict[str, str]
    deviations: list[str]
    sets: dict[str, dict[str, Any]]
    resize: dict[str, Any] | None
    decoding: dict[str, str]
    largest: int
    versions: dict[str, str]
    files: dict[str, dict[str, Any]]

    def to_json(self) -> str:
        """The file's text, with the schema version and a checksum of all other fields."""
        content = {"schema": SCHEMA, **asdict(self)}
        return json.dumps({**content, "sha256": _checksum(content)}, indent=1, ensure_ascii=False) + "\n"


def is_prepared(folder: str | Path) -> bool:
    """Whether `folder` holds a prepared task, whole or damaged."""
    return (Path(folder) / MANIFEST).is_file()


def has_traces(folder: str | Path) -> bool:
    """Whether `folder` holds any file of a prepared task."""
    try:
        return any((Path(folder) / name).is_file() for name in (MANIFEST, *FILES))
    except OSError:  # it may: whoever reads it is told what is wrong
        return True


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`, every file that it lists being there with its size.

    Raises `DataError` naming all that is missing, damaged, cut short, or of another schema or other decoding rules.
    """
    path = folder / MANIFEST
    content = _parse(path)
    if content.get("schema") != SCHEMA:
        given = content.get("schema")
        later = ", from a later vpt" if isinstance(given, int) and given > SCHEMA else ""
        raise damaged(folder, [f"{MANIFEST} is of schema {given!r}{later}; this vpt reads {SCHEMA}"])
    if faults := _faults(content):
        raise damaged(folder, [f"{MANIFEST}: {fault}" for fault in faults])
    manifest = Manifest(**{field.name: content[field.name] for field in fields(Manifest)})
    if faults := [*_files_at_fault(folder, manifest), *_rules_at_fault(manifest)]:
        raise damaged(folder, faults)
    return manifest


def damaged(folder: Path, faults: list[str]) -> DataError:
    """The error for a prepared task with `faults`, which says how to get a whole one."""
    remedy = f"make it again: remove {folder}, then vpt data prepare --out {folder.parent} with the source it came from"
    return DataError("\n  ".join([f"{folder}: is no whole prepared task:", *faults, remedy]))


def parts(task: Task) -> dict[str, ImageSet]:
    """The sets of a task by name, and `trainval` where its source gives it an order of its own."""
    return task.sets() | ({} if task.whole is None else {"trainval": task.whole})


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path.parent}: is no prepared task: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are both ValueErrors
        raise damaged(path.parent, [f"{path.name} cannot be read: {error}"]) from error
    if not isinstance(content, dict):
        raise damaged(path.parent, [f"{path.name} holds a {type(content).__name__}, not an object"])
    return content


def _checksum(content: dict[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _faults(content: dict[str, Any]) -> list[str]:
    """Missing fields; where all are there, whether they are as they were written."""
    missing = [name for name in (*(field.name for field in fields(Manifest)), "sha256") if name not in content]
    if missing:
        return [f"field {name!r} is missing" for name in missing]
    agrees = content["sha256"] == _checksum(content)
    return [] if agrees else ["was changed or damaged since it was written: its checksum does not agree"]


def _files_at_fault(folder: Path, manifest: Manifest) -> list[str]:
    faults = []
    for name in FILES:
        wanted = manifest.files[name]["bytes"]
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            faults.append(f"{name} is missing: {error.strerror}")
            continue
        if found != wanted:
            faults.append(f"{name} has {found:,} bytes instead of {wanted:,}")
    return faults


def _rules_at_fault(manifest: Manifest) -> list[str]:
    if manifest.decoding == RULES:
        return []
    return [f"its images were decoded by other rules than today's: {manifest.decoding}; now: {RULES}"]
