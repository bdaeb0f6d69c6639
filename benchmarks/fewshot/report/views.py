"""Which trials of a folder each table is of, and which of their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.fewshot.stage import BASE_TO_NEW, HARMONIC, NEW, SHOTS, TRANSFER, Stage, on
from benchmarks.suite.plan import TaskEntry, Variant
from benchmarks.suite.report.records import Records
from benchmarks.suite.report.results import View
from benchmarks.suite.trial import Trial

BASE_METRICS = {"base": "accuracy", "new": NEW, "h": HARMONIC}
"""The figures of base-to-new, and what trials call them."""


def of_shots(records: Records) -> dict[int, View]:
    """By images per class; 0 of methods that see none."""
    counts = sorted({stage.shots for stage in _stages(records, SHOTS)})
    return {k: _view(records, _planned(records, SHOTS, k), f"shots-{k}-") for k in counts}


def of_base_to_new(records: Records) -> dict[str, View]:
    """By `base`, `new` and `h`; empty where the plan has no such trials."""
    trials = _planned(records, BASE_TO_NEW)
    return {name: _view(records, trials, f"{name}-", metric) for name, metric in BASE_METRICS.items() if trials}


def of_transfer(records: Records) -> dict[str, View]:
    """By the task that was learned on: the accuracy on it, then on each target."""
    trials, targets = _planned(records, TRANSFER), records.plan["settings"].get("targets") or []
    found: dict[str, View] = {}
    for index, source in enumerate(dict.fromkeys(trial.task for trial in trials)):
        own = [trial for trial in trials if trial.task == source]
        tasks = tuple(_entry(records, name) for name in dict.fromkeys([source, *targets]))
        find, metric = partial(_of_variant, own), partial(_measured_on, source)
        found[source] = View(tasks, _variants(records, own), find, metric, f"transfer-{index}-")
    return found


def _view(records: Records, trials: Sequence[Trial], prefix: str, metric: str = "accuracy") -> View:
    """Of trials that are measured on their own tasks."""
    names = {trial.task for trial in trials}
    tasks = tuple(task for task in records.tasks if task.name in names)
    return View(tasks, _variants(records, trials), partial(_of_cell, trials), lambda task: metric, prefix)


def _of_cell(trials: Sequence[Trial], task: str, variant: str) -> list[Trial]:
    return [trial for trial in trials if trial.cell == (task, variant)]


def _of_variant(trials: Sequence[Trial], target: str, variant: str) -> list[Trial]:
    """Those that are measured on a target: all of the variant."""
    return [trial for trial in trials if trial.variant == variant]


def _measured_on(source: str, target: str) -> str:
    return "accuracy" if target == source else on(target)


def _variants(records: Records, trials: Sequence[Trial]) -> tuple[Variant, ...]:
    labels = {trial.variant for trial in trials}
    return tuple(variant for variant in records.variants if variant.label in labels)


def _planned(records: Records, kind: str, shots: int | None = None) -> list[Trial]:
    stages = {stage.name for stage in _stages(records, kind) if shots in (None, stage.shots)}
    return [trial for trial in records.trials if trial.stage in stages]


def _stages(records: Records, kind: str) -> set[Stage]:
    return {stage for trial in records.trials if (stage := Stage.of(trial.stage)).kind == kind}


def _entry(records: Records, name: str) -> TaskEntry:
    return next((task for task in records.tasks if task.name == name), TaskEntry(name, name, ""))
