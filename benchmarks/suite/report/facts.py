"""What the trials had in common: plan, backbone, preprocessing, versions, devices, cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.report.cost import total
from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.table import file_of
from benchmarks.suite.report.tables.texts import duration, listed, plural
from benchmarks.suite.trial import SEARCH


@dataclass(frozen=True)
class Fact:
    """A name and what is to be said of it. href: a file that says it; mixed: where trials differ in it."""

    name: str
    text: str
    href: str | None = None
    mixed: bool = False


def facts(records: Records) -> list[Fact]:
    """For the page's list of what was run, and on what."""
    plan, seeds = records.plan, dict.fromkeys(t.seed for t in records.trials if t.stage != SEARCH)
    made = [
        Fact("preset", str(plan["preset"]), "../plan.json"),
        Fact("seeds", ", ".join(map(str, seeds)), "../plan.json"),
        *_recorded(records),
        *(Fact("command", command, "../events.jsonl") for command in records.commands),
    ]
    hosts = sorted({str(h) for r in records.found.values() if (h := (r.get("cost") or {}).get("host"))})
    when = sorted(t for r in records.found.values() for t in _times(r))
    if when:
        made.append(Fact("run", f"{when[0]} to {when[-1]}{f' on {listed(hosts)}' if hosts else ''}", "../events.jsonl"))
    spent = f"{duration(total(records))} of training and measuring, over {plural(len(records.found), 'trial')}"
    return [*made, Fact("total cost", spent, "#cost")]


def settings(records: Records) -> list[Fact]:
    """Every setting of the plan, one fact per leaf, e.g. `recipes.deep.lr`."""
    return [Fact(name, text) for name, text in _leaves(records.plan["settings"])]


_ASKED: Mapping[str, Callable[[Record], Any]] = {
    "backbone": lambda r: _backbone(r.get("backbone") or {}),
    "fingerprint": lambda r: _fingerprint((r.get("backbone") or {}).get("fingerprint")),
    "preprocessing": lambda r: _in_words(r.get("preprocessing")),
    "precision": lambda r: r.get("precision"),
    "device": lambda r: r.get("device"),
    "versions": lambda r: _in_words(r.get("versions")),
}
"""What is asked of every record. There should be one answer to each."""


def _recorded(records: Records) -> Iterator[Fact]:
    for name, ask in _ASKED.items():
        answers = {trial: str(answer) for trial, record in records.found.items() if (answer := ask(record))}
        counted = Counter(answers.values())
        for answer, count in counted.items():
            trial = next(trial for trial, given in answers.items() if given == answer)
            often = f" ({plural(count, 'trial')})" if len(counted) > 1 else ""
            yield Fact(name, f"{answer}{often}", file_of(trial), len(counted) > 1)


def _backbone(told: Record) -> str:
    return ", ".join(str(told[name]) for name in ("name", "checkpoint") if told.get(name))


def _fingerprint(told: Any) -> Any:
    """Its digest, which stands for the rest of it."""
    return told.get("digest") if isinstance(told, Mapping) else told


def _in_words(told: Record | None) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in (told or {}).items())


def _times(record: Record) -> Iterator[str]:
    cost = record.get("cost") or {}
    return (str(cost[name]) for name in ("started", "finished") if cost.get(name))


def _leaves(content: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping) and content:
        for name, inner in content.items():
            yield from _leaves(inner, f"{at}.{name}" if at else str(name))
    else:
        yield at, _plain(content)


def _plain(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(inner, list | dict) for inner in value):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return value if isinstance(value, str) else json.dumps(value)
