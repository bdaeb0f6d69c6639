"""Class names, as they stand on a command line or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpt.errors import DataError, OptionError

SUFFIX = ".txt"


def class_names(given: Sequence[str] | None) -> list[str] | None:
    """`["cat, sea lion", "more.txt"]` as names: those between commas, and those on the lines of a text file.

    None where nothing was given. Raises `OptionError` where no name is among it, `DataError` for a file that cannot be
    read. What is wrong with a name is told where the model's tokenizer sees it.
    """
    if given is None:
        return None
    found = [name for item in given for name in (_lines(Path(item)) if item.endswith(SUFFIX) else item.split(","))]
    names = [name.strip() for name in found if name.strip()]
    if not names:
        raise OptionError(
            f"--classnames {' '.join(map(repr, given))}: names nothing; accepted: names with commas between"
        )
    return names


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--classnames {file}: cannot be read: {error}") from error
