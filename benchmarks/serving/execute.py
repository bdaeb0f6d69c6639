"""Doing what is asked, part by part: what is in a part's file already is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.serving import predictor, server
from benchmarks.serving.settings import KINDS, Settings
from benchmarks.speed import machine
from benchmarks.speed.execute import refuse, release
from vpt.runs.record import read_json, write_json
from vpt.training.versions import versions

Part = dict[str, Any]
"""A part as its file holds it: `part`, `case`, `machine`, `versions`, when it was `begun`, `load`, and its `rows`."""

MEASURES: dict[str, Callable[[Settings, Path, int], Iterator[Any]]] = {
    "mixing": predictor.mixing,
    "adding": predictor.adding,
    "memory": predictor.memory,
    "swapping": predictor.swapping,
    "equality": predictor.equality,
    "server": server.rows,
}
"""From settings, the folder of the results, and the number of rows there are, to those still to come."""


def execute(settings: Settings, folder: Path, told: Callable[[str], Any] = print) -> None:
    """Make every part into `folder/parts`, row by row; `told` hears of each row that is there.

    Raises `OptionError` where the folder holds rows that must not be compared with those to come.
    """
    settings.validate()
    parts = [begin(name, settings, folder) for name in settings.parts]
    for part in parts:
        name, wanted = part["part"], settings.rows(part["part"])
        if part["rows"]:
            told(f"{name}: {len(part['rows'])} of {wanted} were there")
        if len(part["rows"]) >= wanted:
            continue
        if not part["rows"]:
            part |= {"begun": datetime.now(UTC).isoformat(timespec="seconds"), "load": machine.load()}
        for row in MEASURES[name](settings, folder, len(part["rows"])):
            part["rows"].append(row)
            write_json(_file(name, folder), part)
            told(f"{name}: {len(part['rows'])} of {wanted}")
        release()


def begin(name: str, settings: Settings, folder: Path) -> Part:
    """A part with the rows that its file has. Raises `OptionError` for a file of another case, machine or version."""
    part: Part = {"part": name, "case": settings.identity(name), "machine": machine.machine("cpu")}
    part |= {"versions": versions(), "rows": []}
    found = read_json(_file(name, folder))
    if found is None:
        return part
    same = ("case", "machine", "versions")
    before, now = ({k: v for group in same for k, v in of[group].items()} for of in (found, part))
    refuse(before, now, _file(name, folder))
    return found


def collect(folder: Path) -> list[Part]:
    """All parts that lie in `folder`, those of earlier commands too."""
    found = (read_json(_file(name, folder)) for name in KINDS["all"])
    return [part for part in found if part is not None]


def _file(name: str, folder: Path) -> Path:
    return folder / "parts" / f"{name}.json"
