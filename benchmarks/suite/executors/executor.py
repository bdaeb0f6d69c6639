"""The promise that every executor keeps, and the executors by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.suite.bench import Bench, Records
from benchmarks.suite.schedule import Job
from vpt.errors import unknown

MakeBench = Callable[[], Bench]
"""Builds a worker's bench in the worker's own process; picklable."""

NAMES = ("inline", "processes", "ray")


@dataclass(frozen=True)
class Died:
    """A worker that went away in the middle of a job, and how."""

    how: str


class Executor(Protocol):
    """Does jobs, several at once. A worker's death ends that worker's job alone."""

    def free(self) -> int:
        """How many more jobs it takes now; at least one where nothing runs."""

    def submit(self, job: Job) -> str:
        """Begin a job; answers who does it, in words."""

    def wait(self) -> tuple[Job, Records | Died]:
        """The next job to end, and what came of it."""

    def close(self) -> None:
        """End all workers; those in the middle of a job keep their last checkpoint."""


def open_executor(name: str, make: MakeBench, workers: int | None = None, address: str | None = None) -> Executor:
    """The executor `name`. workers: None for one per GPU, or per core. address: of a Ray cluster; None starts one here.

    Raises `OptionError` for an unknown name, or where Ray is not installed.
    """
    if name == "inline":
        from benchmarks.suite.executors.inline import Inline

        return Inline(make)
    if name == "processes":
        from benchmarks.suite.executors.processes import Processes

        return Processes(make, workers)
    if name == "ray":
        from benchmarks.suite.executors.ray_cluster import RayCluster

        return RayCluster(make, workers, address)
    raise unknown("executor", name, NAMES)
