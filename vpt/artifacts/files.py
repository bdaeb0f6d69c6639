"""A task's files on disk: written so that a reader finds one whole task at every moment, and read as such."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vpt.artifacts.schema import CARD, CONFIG, NEXT, TENSORS, Manifest, read
from vpt.data.locks import hold
from vpt.errors import ArtifactError
from vpt.training.files import sync_folder, write_temporary

LOCK = ".saving"
"""The file that a save holds; one that was killed leaves it behind, where it disturbs nobody."""

LEFT = re.compile(rf"({'|'.join(map(re.escape, (NEXT, CONFIG, CARD)))})\.[0-9a-f]+\.tmp")
"""What a killed save leaves of files that it had not finished."""


def write_files(folder: Path, tensors: bytes, config: bytes, card: bytes) -> None:
    """Write a task's three files so that a reader finds the earlier task or this one at every moment.

    All is on disk before the first file is renamed. The configuration decides which task it is, and until the tensors
    have taken the place of the earlier ones they are found beside these. Of several saves one goes after the other.
    Raises `ArtifactError` where `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{str(folder)!r} is a file; a task is saved into a folder")
    files = {NEXT: tensors, CONFIG: config, CARD: card}
    with _alone(folder):
        written: dict[str, Path] = {}
        try:
            for name, content in files.items():
                written[name] = write_temporary(folder / name, content)
            for name, temporary in written.items():
                os.replace(temporary, folder / name)
                sync_folder(folder)
            os.replace(folder / NEXT, folder / TENSORS)
        finally:
            for temporary in written.values():
                temporary.unlink(missing_ok=True)
        sync_folder(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder to oneself, where the file system has locks, once what a killed save began there is ended."""
    with hold(folder / LOCK) as alone:
        with suppress(ArtifactError):  # no tensors that wait, or of a save whose configuration did not come
            _checked(folder / NEXT, read(folder).tensors)
            os.replace(folder / NEXT, folder / TENSORS)
        for left in folder.iterdir() if alone else ():
            if LEFT.fullmatch(left.name):
                left.unlink(missing_ok=True)
        yield


def read_content(folder: Path, manifest: Manifest) -> bytes:
    """The tensor file of `manifest`, once size and checksum are those that it states. Raises `ArtifactError`."""
    with suppress(ArtifactError):  # where a save was interrupted after its configuration was in place
        return _checked(folder / NEXT, manifest.tensors)
    return _checked(folder / TENSORS, manifest.tensors)


def _checked(path: Path, expected: dict[str, Any]) -> bytes:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == expected["bytes"] else b""
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if size != expected["bytes"]:
        raise ArtifactError(f"{path} is damaged: it has {size} bytes, not {expected['bytes']}")
    if (found := hashlib.sha256(content).hexdigest()) != expected["sha256"]:
        raise ArtifactError(f"{path} is damaged: its SHA-256 is {found}, not {expected['sha256']}")
    return content
