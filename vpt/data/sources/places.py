"""Roots that are what a source needs, and text files that can be read."""

from __future__ import annotations

from pathlib import Path

from vpt.errors import DataError, OptionError


def needs_root(source: str, root: Path | None) -> Path:
    """`root`, or an `OptionError` where a source cannot do without."""
    if root is None:
        raise OptionError(f"source {source!r} needs root: the place where its images lie")
    return root


def needs_folder(source: str, root: Path | None) -> Path:
    """`root` where it is a folder; raises `OptionError` for none, `DataError` for a file."""
    if not needs_root(source, root).is_dir():
        raise DataError(f"{root}: is a file; source {source!r} takes a folder as root")
    return needs_root(source, root)


def needs_file(source: str, root: Path | None) -> Path:
    """`root` where it is a file; raises `OptionError` for none, `DataError` for a folder."""
    if not needs_root(source, root).is_file():
        raise DataError(f"{root}: is a folder; source {source!r} takes a file as root")
    return needs_root(source, root)


def read_text(file: Path) -> str:
    """The content of a UTF-8 text file, its line ends untouched; raises `DataError` naming a file that is none."""
    try:
        return file.read_bytes().decode("utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise DataError(f"{file}: is not UTF-8 text ({byte}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
