"""The driver: hands out jobs, writes down what comes back, and does nothing twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.suite.executors import Died, Executor
from benchmarks.suite.folder import FINISHED, Folder, forget
from benchmarks.suite.measured import failures
from benchmarks.suite.schedule import Job, Schedule
from benchmarks.suite.trial import Trial
from benchmarks.suite.watch import Watch
from vpt.errors import TrainingError

ATTEMPTS = 3
"""Times that a job may lose its worker before its trials count as failed."""


@dataclass
class Summary:
    """How many trials ended how: found finished, done now, diverged, failed, and waiting for failed ones.

    wall: seconds from the first job to the last; workers: how many at once; busy: seconds that trials took in all.
    """

    found: int
    workers: int = 1
    wall: float = 0.0
    busy: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Mapping[str, Any]] = field(default_factory=list)
    waiting: list[Trial] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every trial is finished."""
        return not (self.failures or self.waiting)

    @property
    def overhead(self) -> float:
        """The share of the workers' time that was spent on anything but trials: starting, waiting for the last one."""
        return 1 - self.busy / (self.workers * self.wall) if self.wall else 0.0

    def reasons(self) -> dict[str, list[str]]:
        """Why trials failed, and which."""
        found: dict[str, list[str]] = {}
        for failure in self.failures:
            found.setdefault(failure["reason"], []).append(failure["id"])
        return found


def execute(folder: Folder, trials: Sequence[Trial], executor: Executor, watch: Watch) -> Summary:
    """Do all of `trials` that are not finished, as `executor` has room, and write each record as it comes.

    Finished trials are read, not repeated; failed ones are tried again. Raises `TrainingError` where the disk is full.
    """
    read = {trial.id: folder.read(trial.id, repair=True) for trial in trials}
    records: dict[str, Mapping[str, Any]] = {name: found for name, found in read.items() if found is not None}
    schedule = Schedule(trials, records)
    summary, begun = Summary(len(trials) - len(schedule), executor.free()), time.monotonic()
    watch.start(len(trials), summary.found)
    deaths: Counter[str] = Counter()
    again: list[Job] = []
    running = 0
    try:
        while True:
            while executor.free() > 0 and (job := again.pop() if again else schedule.take()) is not None:
                folder.note("begun", trials=job.wanted, by=executor.submit(job))
                running += 1
            if not running:
                break
            job, outcome = executor.wait()
            running -= 1
            if isinstance(outcome, Died):
                folder.note("died", trials=job.wanted, how=outcome.how)
                deaths[job.wanted[0]] += 1
                if deaths[job.wanted[0]] < ATTEMPTS:
                    again.append(job)
                    continue
                times = f"the worker died {ATTEMPTS} times in the middle of it ({outcome.how}); out of memory?"
                outcome = failures(job.left, TrainingError(times))
            for found in outcome:
                _take_in(folder, found, schedule, summary, watch)
    finally:
        executor.close()
        watch.close()
    summary.waiting, summary.wall = schedule.waiting(), time.monotonic() - begun
    return summary


def _take_in(folder: Folder, found: dict[str, Any], schedule: Schedule, summary: Summary, watch: Watch) -> None:
    folder.write(found)
    folder.note(found["status"], trials=[found["id"]])
    schedule.put(found)
    summary.counts[found["status"]] += 1
    summary.busy += found["cost"]["seconds"]
    if found["status"] in FINISHED:
        forget(folder.scratch(found["id"]))
    else:  # its checkpoint stays, for the next try
        summary.failures.append(found)
    watch.trial(found)


def tidy(folder: Folder, trials: Sequence[Trial]) -> None:
    """Delete what killed workers of trials that are finished left behind."""
    for trial in trials:
        scratch = folder.scratch(trial.id)
        if scratch.exists() and folder.is_finished(trial.id):
            forget(scratch)
