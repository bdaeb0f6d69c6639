"""What became of the trials that have no number: failed, diverged, missing, damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from benchmarks.suite.folder import DIVERGED, FAILED
from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.table import file_of
from benchmarks.suite.report.tables.texts import plural


@dataclass(frozen=True)
class Outcome:
    """One trial or file without a number: why, the whole traceback where there is one, its file."""

    name: str
    reason: str
    traceback: str
    href: str


@dataclass(frozen=True)
class Outcomes:
    """missing: how many trials have no sound record, by variant and stage, in words."""

    counts: Mapping[str, int]
    failed: list[Outcome]
    diverged: list[Outcome]
    damaged: list[Outcome]
    missing: list[str]
    missing_ids: list[str]
    unplanned: list[Outcome]

    def in_words(self) -> str:
        """`114 of 120 trials done, 1 diverged, 2 failed, 3 missing.`"""
        counts = self.counts
        parts = [f"{counts['done']:,} of {plural(counts['planned'], 'trial')} done"]
        parts += [f"{counts[name]:,} {name}" for name in ("diverged", "failed", "missing") if counts[name]]
        parts += [f"{plural(counts['damaged'], 'file')} damaged"] if counts["damaged"] else []
        return f"{', '.join(parts)}."


def outcomes(records: Records) -> Outcomes:
    """All that is not done, told apart."""
    missing = Counter((trial.variant, trial.stage) for trial in records.missing)
    return Outcomes(
        records.counts(),
        [_outcome(record) for record in records.having(FAILED)],
        [_outcome(record) for record in records.having(DIVERGED)],
        [Outcome(name, fault, "", _file(name)) for name, fault in records.damaged.items()],
        [f"{variant}: {plural(count, f'{stage} trial')}" for (variant, stage), count in missing.items()],
        [trial.id for trial in records.missing],
        [Outcome(name, "belongs to no trial of the plan", "", _file(name)) for name in records.unplanned],
    )


def _outcome(record: Record) -> Outcome:
    reason = str(record.get("reason") or "no reason was recorded")
    return Outcome(record["id"], reason, str(record.get("traceback") or ""), file_of(record["id"]))


def _file(name: str) -> str:
    return f"../trials/{quote(name)}"
