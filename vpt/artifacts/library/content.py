"""What a version holds: the files of a saved task, under a name that is their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpt.artifacts.files import read_content
from vpt.artifacts.load import read_task
from vpt.artifacts.schema import CARD, CONFIG, TENSORS, Manifest, read
from vpt.errors import ArtifactError

FOLDER = "versions"
FILES = frozenset({CONFIG, TENSORS, CARD})
"""What a version may hold."""

Files = dict[str, dict[str, Any]]
"""`{name: {"sha256", "bytes"}}`."""


def read_whole(folder: Path) -> tuple[dict[str, bytes], Manifest]:
    """The files of the task saved in `folder`, checked. Raises `ArtifactError` where they are damaged or changing."""
    manifest, _ = read_task(folder)
    content = _files(folder, manifest)
    if read(folder) != manifest or _files(folder, manifest) != content:
        raise ArtifactError(f"{folder} changed while it was read; add it when it is finished")
    return content, manifest


def describe(content: Mapping[str, bytes], manifest: Manifest) -> dict[str, Any]:
    """The facts of a version: its files, their digest, and what the manifest says that is worth listing."""
    files = files_of(content)
    backbone = manifest.part("backbone").get("name")
    return {
        "digest": digest_of(files),
        "files": files,
        "method": manifest.method,
        "backbone": backbone if isinstance(backbone, str) else None,
        "fingerprint": manifest.fingerprint["digest"],
        "num_classes": manifest.num_classes,
        "classes": manifest.classes,
        "metrics": manifest.metrics,
    }


def files_of(content: Mapping[str, bytes]) -> Files:
    """What is told of files, by name."""
    return {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in content.items()}


def digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 (hex) of names and digests of files."""
    facts = {name: file["sha256"] for name, file in files.items()}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def place(task: str, digest: str) -> str:
    """The folder of a version in its library."""
    return f"{FOLDER}/{task}/{digest}"


def faults(content: Mapping[str, bytes], folder: str, files: Files, where: str) -> list[str]:
    """What is wrong with the `files` of `folder`, of which `content` has those that are there; named as in `where`."""
    found = []
    for name, wanted in files.items():
        data = content.get(f"{folder}/{name}")
        if data is None:
            found.append(f"{where}/{name} is missing")
        elif (sha256 := hashlib.sha256(data).hexdigest()) != wanted["sha256"]:
            found.append(f"{where}/{name} is damaged: its SHA-256 is {sha256}, not {wanted['sha256']}")
    return found


def _files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    found = {name: (folder / name).read_bytes() for name in (CONFIG, CARD) if (folder / name).is_file()}
    return {**found, TENSORS: read_content(folder, manifest)}
