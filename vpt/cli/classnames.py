"""Class names, as they stand on a command line or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpt.errors import OptionError

SUFFIXES = (".txt", ".json")


def class_names(given: Sequence[str] | None) -> list[str] | None:
    """`["cat, sea lion", "more.txt"]` as names: those between commas, and those in a file, of text or JSON.

    None where nothing was given. Raises `OptionError` where no name is among it, `DataError` for a file that cannot be
    read. What is wrong with a name is told where the model's tokenizer sees it.
    """
    if given is None:
        return None
    found = [name for item in given for name in (_in_file(item) if item.endswith(SUFFIXES) else item.split(","))]
    names = [name.strip() for name in found if name.strip()]
    if not names:
        raise OptionError(
            f"--classnames {' '.join(map(repr, given))}: names nothing; accepted: names with commas between"
        )
    return names


def _in_file(item: str) -> list[str]:
    from vpt.data.sources.class_names import read_names

    return read_names(Path(item))
