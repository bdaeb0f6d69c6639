"""Arrays on disk with one row per image, and what they lie in: written as a whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

UNFINISHED = ".writing-"
"""How names of files begin that `whole_file` has not finished, or was killed over."""


def open_rows(path: Path, count: int) -> NDArray[Any] | None:
    """The array `[count, ...]` in `path`, mapped; None where there is none, or a damaged or other one."""
    try:
        mapped = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):  # not there, or cut short
        return None
    return mapped if mapped.ndim and len(mapped) == count else None


def write_rows(path: Path, count: int, chunks: Iterable[NDArray[Any]]) -> None:
    """Write `chunks` `[b, ...]`, `count` rows together, to `path`; an exception on the way leaves nothing behind."""
    with whole_file(path) as file:
        written = 0
        for chunk in chunks:
            if not written:
                write_header(file, (count, *chunk.shape[1:]), chunk.dtype)
            file.write(np.ascontiguousarray(chunk).tobytes())
            written += len(chunk)
        if written != count:
            raise ValueError(f"{written} rows came for an array of {count}")


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """The head of a `.npy` file."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name once all is written and synced: a reader sees all of it or nothing.

    To be filled by plain writes rather than a writable map: a full disk is then an OSError, not the process's end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, that appears under its name once all is written and synced.

    Raises OSError where something of that name appeared meanwhile; an empty folder is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.writing-"))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        sync_folder(temporary)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def forget_abandoned(folder: Path, ending: str, age: float) -> None:
    """Delete the files that `whole_file` left unfinished in `folder`, not written to for `age` seconds."""
    for left in folder.glob(f"{UNFINISHED}*{glob.escape(ending)}"):
        with suppress(FileNotFoundError):  # finished, or deleted by another
            if left.stat().st_mtime < time.time() - age:
                left.unlink()


def forget_unfinished(path: Path) -> None:
    """Delete what killed processes had written of the folder `path`; for those that know no other is writing it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.writing-*"):
        shutil.rmtree(left, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable; a file system that cannot sync folders is left as it is."""
    if os.name == "nt":  # pragma: no cover - folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
