"""A lock among processes that a kill releases, too."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without locks answer


@contextmanager
def hold(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Have `path` to oneself among all that hold it, in this process or others; the file is there only meanwhile.

    Gives whether it is so: False where the system, or the file system, has no such locks.
    Without `wait`, raises `BlockingIOError` where another has it. One who holds it already and waits, waits for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, wait)
    if file is None:
        yield False
        return
    with file:
        try:
            yield True
        finally:
            with suppress(OSError):
                path.unlink()  # while it is held: who waits for it finds that it is gone, and takes a new one


def _locked(path: Path, wait: bool) -> IO[bytes] | None:
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return None
    while True:
        file = open(path, "ab")  # noqa: SIM115 - closed by who holds it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            file.close()
            if error.errno in _UNKNOWN:
                return None
            raise
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether `file` is the one that `path` names still: its last holder has removed it otherwise."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
