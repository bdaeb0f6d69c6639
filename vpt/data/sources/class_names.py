"""Files of class names: `.json` (a list, or old names and new ones), or text with a name in each line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpt.data.sources.places import read_text
from vpt.errors import DataError, some

_WORDNET = re.compile(r"(n\d{8})\s+(\S.*)")


def read_class_names(file: Path, classes: Sequence[str]) -> list[str] | dict[str, str]:
    """The names in `file` for `classes`: a list in the order of labels, or `{old: new}`.

    Lines of text that begin with ids of WordNet, such as "n01440764 tench", name the classes that are called by these
    ids; those of other classes are not needed. Raises `DataError` for a file that is neither.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; class_names takes names, or a .json or .txt file of them")
    if file.suffix == ".json":
        return _from_json(file)
    by_id = read_wordnet_names(file)
    if not by_id:
        return _lines(file)
    if missing := [name for name in classes if name not in by_id]:
        raise DataError(f"{file}: has names of WordNet ids, but none of the classes {some(missing)}")
    return {name: by_id[name] for name in classes}


def read_names(file: Path) -> list[str]:
    """All names in `file`, where no task says how many there are: a JSON list, or the lines, less ids of WordNet."""
    if file.suffix != ".json":
        return [*read_wordnet_names(file).values()] or _lines(file)
    names = _from_json(file)
    if isinstance(names, Mapping) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: is no list of names, each a text, which is what is accepted here")
    return names


def read_wordnet_names(file: Path) -> dict[str, str]:
    """id -> name, of a text file all whose lines are an id of WordNet and a name; empty for another one."""
    found = [_WORDNET.fullmatch(line) for line in _lines(file)]
    return {} if not all(found) else {match[1]: match[2] for match in found if match}


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _from_json(file: Path) -> list[str] | dict[str, str]:
    try:
        names: Any = json.loads(read_text(file))
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(names, list | Mapping):
        raise DataError(f"{file}: holds a {type(names).__name__}; accepted: a list of names, or old names and new ones")
    return names  # type: ignore[return-value]  # the names themselves are looked at when they are given to a task
