"""In this process, one job after the other."""

from __future__ import annotations

from benchmarks.suite.bench import Records
from benchmarks.suite.executors.executor import Died, MakeBench
from benchmarks.suite.schedule import Job


class Inline:
    """The simplest executor: a job is done when it is waited for."""

    def __init__(self, make: MakeBench) -> None:
        self._bench = make()
        self._job: Job | None = None

    def free(self) -> int:
        """One, where nothing is begun."""
        return int(self._job is None)

    def submit(self, job: Job) -> str:
        """Keep the job for `wait`."""
        self._job = job
        return "this process"

    def wait(self) -> tuple[Job, Records | Died]:
        """Do the job."""
        assert self._job is not None
        job, self._job = self._job, None
        return job, self._bench.do(job)

    def close(self) -> None:
        """Nothing is left to end."""
