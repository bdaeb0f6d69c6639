"""Writing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from vpt.data.arrays import sync_folder

__all__ = ["sync_folder", "write_atomically", "write_temporary"]


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`: temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = write_temporary(path, content)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_temporary(path: Path, content: bytes | str) -> Path:
    """Write and fsync `content` into a file of its own beside `path`, which the caller renames. Mode by umask.

    It is named `{path.name}.*.tmp`; one that is killed on the way leaves it behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
