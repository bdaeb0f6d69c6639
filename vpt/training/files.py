"""Writing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`: temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = write_temporary(path, content)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_temporary(path: Path, content: bytes | str) -> Path:
    """Write and fsync `content` into a temporary file beside `path`; the caller renames it. Mode by umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable; a file system that cannot sync folders is left as it is."""
    if os.name == "nt":  # pragma: no cover - folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
