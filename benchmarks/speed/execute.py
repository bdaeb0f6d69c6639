"""Doing a plan: what is in its file already is not measured again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import cache, machine, measure, memory, sweep, text
from benchmarks.speed.plan import Case
from benchmarks.speed.settings import BACKBONES, KINDS, TEXT_KINDS, TOWERS
from vpt.errors import OptionError
from vpt.runs.record import read_json, write_json
from vpt.training.versions import versions

Part = dict[str, Any]
"""One measurement as its file holds it: `case`, `machine`, `versions`, when it was `begun`, and its `rows`."""

MEASURES: dict[str, Callable[[Case, int], Iterator[Any]]] = {
    "train": measure.steps,
    "infer": measure.steps,
    "memory": memory.alone,
    "sweep": sweep.probes,
    "cache": cache.epochs,
    "text-train": text.steps,
    "text-infer": text.steps,
    "text-chunks": text.steps,
    "text-memory": memory.alone,
}
"""From a case and the number of rows there are, to those still to come."""


def execute(cases: Sequence[Case], folder: Path, told: Callable[[str], Any] = print) -> None:
    """Make every measurement into `folder/parts`, row by row; `told` hears of each row that is there.

    Raises `OptionError` where the folder holds rows that must not be compared with those to come.
    """
    parts = [begin(case, folder) for case in cases]
    for other in collect(folder):
        refuse(_conditions(other), _conditions(parts[-1]), folder)
    for case, part in zip(cases, parts, strict=True):
        for done in range(len(part["rows"])):
            told(f"{case.name} {done + 1}/{case.rows}: was there")
        if len(part["rows"]) < case.rows:
            if not part["rows"]:
                part |= {"begun": datetime.now(UTC).isoformat(timespec="seconds"), "load": machine.load()}
            for row in MEASURES[case.what](case, len(part["rows"])):
                part["rows"].append(row)
                write_json(path(case, folder), part)
                told(f"{case.name} {len(part['rows'])}/{case.rows}")
            release()


def begin(case: Case, folder: Path) -> Part:
    """The part of a case with the rows that its file has. Raises `OptionError` for a file of another case."""
    part: Part = {"case": case.identity(), "machine": machine.machine(case.device), "versions": versions(), "rows": []}
    found = read_json(path(case, folder))
    if found is None:
        return part
    refuse({**found["case"], **_conditions(found)}, {**part["case"], **_conditions(part)}, path(case, folder))
    return found


def refuse(before: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Raise `OptionError` naming what differs, or do nothing."""
    if changed := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        raise OptionError(f"{where} was measured with another {', '.join(changed)}; give another --out, or delete it")


def _conditions(part: Part) -> dict[str, Any]:
    """What all parts of a folder share: the machine, the versions, and how contenders compute."""
    how = {name: part["case"][name] for name in ("device", "precision", "compile")}
    return {**part["machine"], **part["versions"], **how}


def path(case: Case, folder: Path) -> Path:
    """The file of a case."""
    return folder / "parts" / f"{case.name}.json"


def release() -> None:
    """Give back what the last contenders held, before the next ones are built."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def collect(folder: Path) -> list[Part]:
    """All parts that lie in `folder`, those of earlier commands too, in the order of a plan."""
    found = (read_json(file) for file in sorted((folder / "parts").glob("*.json")))
    return sorted((part for part in found if part is not None), key=_place)


def _place(part: Part) -> tuple[int, ...]:
    case = part["case"]
    lengths = [contender["length"] or 0 for contender in case["contenders"]]
    kind, model = (*KINDS, *TEXT_KINDS).index(case["what"]), (*BACKBONES, *TOWERS).index(case["backbone"])
    return kind, model, case["options"].get("texts", 0), lengths[0] if lengths else 0
