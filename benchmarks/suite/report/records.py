"""Reading a benchmark folder: the plan, and each trial's record sorted into sound, damaged and missing."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.suite.folder import DIVERGED, DONE, FAILED, SCHEMA, Folder
from benchmarks.suite.plan import TaskEntry, Variant
from benchmarks.suite.trial import SEARCH, Trial
from vpt.errors import ArtifactError, OptionError
from vpt.runs.record import read_json

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Records:
    """What lies in a benchmark folder.

    plan: the content of `plan.json`. found: sound records by trial id, in the plan's order. damaged: what is wrong
    with a file of `trials/`, by its name. unplanned: files there that belong to no trial of the plan.
    commands: the commands that were run on the folder, as `events.jsonl` has them.
    """

    folder: Path
    plan: Mapping[str, Any]
    tasks: tuple[TaskEntry, ...]
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    found: Mapping[str, Record]
    damaged: Mapping[str, str]
    unplanned: tuple[str, ...]
    commands: tuple[str, ...]

    def of(self, task: str, variant: str, stage: str) -> list[Trial]:
        """The planned trials of one cell of the table."""
        return self._cells.get((task, variant, stage), [])

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str], list[Trial]]:
        cells: dict[tuple[str, str, str], list[Trial]] = {}
        for trial in self.trials:
            cells.setdefault((*trial.cell, trial.stage), []).append(trial)
        return cells

    def done(self, trial: str) -> Record | None:
        """The record of a trial that was trained to its end and measured."""
        found = self.found.get(trial)
        return found if found is not None and found["status"] == DONE else None

    def having(self, status: str) -> list[Record]:
        """The sound records of one status."""
        return [record for record in self.found.values() if record["status"] == status]

    @property
    def missing(self) -> list[Trial]:
        """Planned trials that have no sound record: not run yet, or damaged."""
        return [trial for trial in self.trials if trial.id not in self.found]

    def counts(self) -> dict[str, int]:
        """How many trials are planned, done, diverged, failed, missing, and how many files are damaged."""
        return {
            "planned": len(self.trials), **{s: len(self.having(s)) for s in (DONE, DIVERGED, FAILED)},
            "missing": len(self.missing), "damaged": len(self.damaged),
        }  # fmt: skip


def read(folder: Path) -> Records:
    """Everything in `folder` that a report is made from.

    Raises `OptionError` where there is no plan, and naming every file that another version of vpt wrote.
    """
    where = Folder(folder)
    plan = read_json(where.plan)
    if plan is None:
        raise OptionError(f"{folder} holds no {where.plan.name}; accepted: the --out of an earlier command")
    content: dict[str, Any] = {}
    damaged = {path.name: "could not be read, and was put aside" for path in sorted(where.trials.glob("*.damaged"))}
    for path in sorted(where.trials.glob("*.json")):
        try:
            content[path.name] = read_json(path)
        except ArtifactError as error:
            damaged[path.name] = str(error)
    _refuse_other_schemas({where.plan: plan, **{where.trials / name: found for name, found in content.items()}})
    trials = tuple(Trial.from_dict(trial) for trial in plan["trials"])
    found = {}
    for trial, planned in zip(trials, plan["trials"], strict=True):
        if (record := content.pop(where.record(trial.id).name, None)) is None:
            continue
        if fault := next(_faults(record, trial, planned), None):
            damaged[where.record(trial.id).name] = fault
        else:
            found[trial.id] = record
    return Records(
        folder, plan, tuple(TaskEntry(**task) for task in plan["tasks"]),
        tuple(Variant(**variant) for variant in plan["variants"]), trials, found, damaged, tuple(content),
        tuple(_commands(folder / "events.jsonl")),
    )  # fmt: skip


def _refuse_other_schemas(files: Mapping[Path, Record]) -> None:
    others = [f"{path}: schema {f.get('schema')!r}" for path, f in files.items() if f.get("schema") != SCHEMA]
    if others:
        listed = "\n  ".join(others)
        raise OptionError(f"files of another version of vpt; this one reads schema {SCHEMA}:\n  {listed}")


def _faults(record: Record, trial: Trial, planned: Record) -> Iterator[str]:
    """What makes a record unfit to be shown as this trial's."""
    if record.get("id") != trial.id:
        yield f"is the record of {record.get('id')!r}"
    if record.get("trial") != planned:
        yield "was made for another setting of this trial than the plan's"
    if record.get("status") not in (DONE, DIVERGED, FAILED):
        yield f"has status {record.get('status')!r}; accepted: {DONE}, {DIVERGED}, {FAILED}"
    if record.get("status") != DONE:
        return
    measured = "val" if trial.stage == SEARCH else "test"
    if record.get("measured_on") != measured:
        yield f"was measured on {record.get('measured_on')!r}, a {trial.stage} trial is on {measured}"
    metrics = record.get("metrics") or {}
    for name, rate in {"accuracy": None, **metrics}.items():
        if not isinstance(rate, int | float) or not math.isfinite(rate) or not 0 <= rate <= 1:
            yield f"has {name} {rate!r}; accepted: a fraction from 0 to 1"


def _commands(events: Path) -> Iterator[str]:
    """The different commands of `events.jsonl`, in order; a torn line is none."""
    seen = set()
    for line in events.read_text(encoding="utf-8").splitlines() if events.exists() else []:
        try:
            command = json.loads(line).get("command")
        except (ValueError, AttributeError):
            continue
        words = shlex.join(map(str, command)) if isinstance(command, list) else command
        if isinstance(words, str) and words not in seen:
            seen.add(words)
            yield words
