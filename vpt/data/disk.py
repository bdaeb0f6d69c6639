"""What the operating system says of a file that cannot be written, in words that help."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from vpt.errors import DataError


def is_full(error: OSError) -> bool:
    """Whether the disk, or what one may have of it, is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def unwritable(path: Path, error: OSError, needed: int | None = None) -> DataError:
    """The error for a file or folder that could not be written; `needed`: the bytes that it takes, where known."""
    if not is_full(error):
        return DataError(f"{path}: cannot be written: {error}")
    place = next(parent for parent in path.absolute().parents if parent.exists())
    wanted = "" if needed is None else f"about {needed:,} bytes are needed, "
    return DataError(f"{path}: the disk is full; {wanted}{shutil.disk_usage(place).free:,} are free in {place}")
