"""Files that appear once they are whole and checked: written in a folder beside, then renamed into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vpt.errors import ArtifactError, OptionError
from vpt.training.files import sync_folder


@contextmanager
def placing(file: Path) -> Iterator[Path]:
    """A path, named as `file`, to write to, and to write beside; all that was written takes its place at the end.

    `file` itself comes last. After an exception nothing has changed. Raises `ArtifactError` where `file` is a folder,
    and for every `OSError`, the caller's too: a place where nothing can be written, a full disk.
    """
    try:
        if file.is_dir():
            raise ArtifactError(f"{str(file)!r} is a folder; it would be replaced by a file")
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
            draft = Path(folder) / file.name
            yield draft
            _place(draft, file.parent)
    except OSError as error:
        raise ArtifactError(f"{str(file)!r} cannot be written: {error}") from error


def _place(draft: Path, folder: Path) -> None:
    """Move all that lies beside `draft` into `folder`, and it at the end."""
    written = sorted(draft.parent.iterdir(), key=lambda path: path == draft)
    for path in written:
        _sync(path)
    for path in written:
        os.replace(path, folder / path.name)
    sync_folder(folder)


def check_suffix(file: Path, suffix: str) -> Path:
    """`file`. Raises `OptionError` where its name ends otherwise."""
    if file.suffix != suffix:
        raise OptionError(f"the file is {str(file)!r}; accepted: a name that ends in {suffix}")
    return file


def facts_of(file: Path) -> Path:
    """Where what is to be known about an exported file stands: beside it, with .json after its whole name."""
    return file.with_name(f"{file.name}.json")


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
