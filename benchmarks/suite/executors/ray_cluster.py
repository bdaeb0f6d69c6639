"""A Ray cluster: a local one, or many machines. The same jobs and records as everywhere; the driver writes the files.

On many machines the checkout, the environment and the data must lie at the same places on each of them; each prepares
the images it needs in its own cache, unless that is on a shared disk.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.suite.bench import Bench, Records
from benchmarks.suite.executors import share
from benchmarks.suite.executors.executor import Died, MakeBench
from benchmarks.suite.measured import failures
from benchmarks.suite.schedule import Job
from vpt.errors import OptionError

_benches: dict[bytes, Bench] = {}
"""The bench of this worker process, by its pickled recipe: Ray gives one process many tasks."""


class RayCluster:
    """Jobs as Ray tasks of one GPU each where the cluster has some, else of one core."""

    def __init__(self, make: MakeBench, workers: int | None = None, address: str | None = None) -> None:
        self._ray = ray = _import()
        share.check_workers(workers)
        self._mine = not ray.is_initialized()
        if self._mine:
            _connect(ray, workers, address)
        self._gpu = bool(self._resources("GPU"))
        needs: dict[str, Any] = {"num_gpus": 1} if self._gpu else {"num_cpus": 1}
        # a process serves many tasks, which Ray grants GPU tasks only when told: torch and backbone load once
        self._work = ray.remote(max_retries=0, max_calls=0, **needs)(work)
        self._make = ray.cloudpickle.dumps(make)
        self._most = workers
        self._threads = max(1, share.cores() // workers) if self._mine and not address and workers else 1
        self._running: dict[Any, Job] = {}

    def _resources(self, kind: str) -> int:
        return int(self._ray.cluster_resources().get(kind, 0))

    def free(self) -> int:
        """GPUs, or cores, without a job; a cluster may shrink to none and grow while it works."""
        size = self._resources("GPU" if self._gpu else "CPU")
        return max(min(size, self._most or size), 1) - len(self._running)

    def submit(self, job: Job) -> str:
        """Hand the job to the cluster."""
        self._running[self._work.remote(self._make, self._threads, job)] = job
        return "ray"

    def wait(self) -> tuple[Job, Records | Died]:
        """The next task to end, or to lose its worker."""
        (ready, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready)
        try:
            return job, self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:  # no death: the task itself could not begin
            return job, failures(job.left, error.cause if isinstance(error.cause, Exception) else error)
        except self._ray.exceptions.RayError as error:
            return job, Died(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")

    def close(self) -> None:
        """Cancel what runs, and end the cluster where it was started here."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        if self._mine:
            self._ray.shutdown()


def work(make: bytes, threads: int, job: Job) -> Records:
    """A Ray task."""
    if make not in _benches:
        import ray

        share.settle(threads)
        _benches[make] = ray.cloudpickle.loads(make)()
    return _benches[make].do(job)


def _import() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OptionError("executor 'ray' needs Ray: pip install 'vpt[ray]'") from error
    return ray


def _connect(ray: Any, workers: int | None, address: str | None) -> None:
    root = str(Path(__file__).parents[3])
    paths = os.pathsep.join(dict.fromkeys([root, *(path for path in sys.path if path)]))
    local: dict[str, Any] = {} if address else {"num_cpus": workers or share.cores(), "include_dashboard": False}
    try:
        ray.init(
            address or "local", logging_level=logging.ERROR, log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": paths}}, **local,
        )  # fmt: skip
    except ConnectionError as error:
        raise OptionError(f"no Ray cluster answers at {address!r}: {error}") from error
