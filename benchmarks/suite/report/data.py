"""What the trials were trained and measured on, and in what that is not the published task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.plan import TaskEntry
from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.results import Results
from benchmarks.suite.trial import Trial


@dataclass(frozen=True)
class Data:
    """One task's data as its records have it. deviations: in what it is not the published task.

    others: how many other descriptions of the same task's data there are among its records; they should not be.
    """

    task: TaskEntry
    trial: str
    route: str
    sizes: dict[str, int]
    digests: dict[str, str]
    deviations: tuple[str, ...]
    others: int


def data_of(records: Records, task: TaskEntry) -> Data | None:
    """None where no trial of the task has said what its data are."""
    told = {trial.id: data for trial in records.trials
            if (found := records.found.get(trial.id)) and (data := _of(found, trial, task))}  # fmt: skip
    if not told:
        return None
    trial, data = next(iter(told.items()))
    deviations = dict.fromkeys(line for one in told.values() for line in _deviations(task, one))
    different = [other for other in told.values() if _identity(other) != _identity(data)]
    return Data(
        task, trial, str(data.get("route", "unknown")), dict(data.get("sizes") or {}), dict(data.get("digests") or {}),
        tuple(deviations), len({str(_identity(other)) for other in different}),
    )  # fmt: skip


def _of(record: Record, trial: Trial, task: TaskEntry) -> Any:
    """What a record says of a task: its own, or another that it was measured on, too."""
    return record.get("data") if trial.task == task.name else (record.get("others") or {}).get(task.name)


def own_splits(results: Results) -> list[str]:
    """A note that names the tasks whose data are not the published ones, and in what; or none."""
    found = [data for task in results.tasks if (data := data_of(results.records, task)) and data.deviations]
    if not found:
        return []
    named = "; ".join(f"{data.task.title} ({', '.join(data.deviations)})" for data in found)
    return [f"Own split, not a {results.suite.title} score: {named}."]


def routes(results: Results) -> list[str]:
    """A note on how the images came here: `Data route: vtab-folder on all tasks.`; none before a record says it."""
    found = by_route(results)
    if not found:
        return []
    return [f"Data route: {'; '.join(f'{route} on {which(results, tasks)}' for route, tasks in found.items())}."]


def which(results: Results, tasks: Sequence[str]) -> str:
    """The tasks by name, or that it is all of them."""
    return "all tasks" if len(tasks) == len(results.tasks) else ", ".join(tasks)


def by_route(results: Results) -> dict[str, list[str]]:
    """The titles of the tasks by their data route."""
    found: dict[str, list[str]] = {}
    for task in results.tasks:
        if data := data_of(results.records, task):
            found.setdefault(data.route, []).append(task.title)
    return found


def _identity(data: Record) -> tuple[Any, ...]:
    return data.get("route"), data.get("sizes"), data.get("digests")


def _deviations(task: TaskEntry, data: Record) -> tuple[str, ...]:
    """What the record says; where it says nothing, whether the number of test images is the plan's."""
    said = tuple(str(line) for line in data.get("deviations") or ())
    size = (data.get("sizes") or {}).get("test")
    if said or task.test is None or size in (None, task.test):
        return said
    return (f"test holds {size} images, not {task.test}",)
