"""A pool of processes on this machine: one per GPU, or one per share of the cores.

Own processes rather than a `ProcessPoolExecutor`: there, one worker's death fails every job and does not say whose it
was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.suite.bench import Bench, Records
from benchmarks.suite.executors import share
from benchmarks.suite.executors.executor import Died, MakeBench
from benchmarks.suite.schedule import Job

PRELOADED = ("accelerate", "sklearn.metrics", "timm")

PATIENCE = 20.0
"""Seconds that interrupted workers get to write their checkpoints."""


@dataclass
class _Worker:
    name: str
    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class Processes:
    """`workers` processes; a dead one is replaced. Workers end by themselves when the driver is gone."""

    def __init__(self, make: MakeBench, workers: int | None = None) -> None:
        share.check_workers(workers)
        self._make, self._gpus = make, share.gpus()
        self._size = workers or share.default_workers()
        self._threads = max(1, share.cores() // self._size)
        self._context = _forkserver()
        self._workers = [self._start(i) for i in range(self._size)]

    def _start(self, i: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        gpu = self._gpus[i % len(self._gpus)] if self._gpus else None
        process = self._context.Process(target=serve, args=(theirs, self._make, self._threads, gpu), daemon=True)
        process.start()
        theirs.close()
        return _Worker(f"worker {i + 1}", process, ours)

    def free(self) -> int:
        """Workers without a job."""
        return sum(worker.job is None for worker in self._workers)

    def submit(self, job: Job) -> str:
        """Give the job to a worker that has none; one that died idle is replaced first."""
        i, worker = next((i, w) for i, w in enumerate(self._workers) if w.job is None)
        if not worker.process.is_alive():
            worker = self._workers[i] = self._start(i)
        worker.job = job
        with suppress(OSError):  # it died just now; `wait` finds it dead
            worker.pipe.send(job)
        return f"{worker.name}, process {worker.process.pid}"

    def wait(self) -> tuple[Job, Records | Died]:
        """The next job whose worker answers or dies."""
        busy = {worker.pipe: i for i, worker in enumerate(self._workers) if worker.job is not None}
        i = busy[wait(list(busy))[0]]  # type: ignore[index]  # a dead worker's pipe is ready, too: at its end
        worker = self._workers[i]
        assert worker.job is not None
        job, worker.job = worker.job, None
        try:
            return job, worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers[i] = self._start(i)
            return job, Died(f"exit code {worker.process.exitcode}")

    def close(self) -> None:
        """End the workers: at once those without a job, the others after writing a checkpoint."""
        for worker in self._workers:
            if worker.job is not None and worker.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGINT)
            else:
                worker.pipe.close()
        deadline = time.monotonic() + PATIENCE
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()


def serve(pipe: Connection, make: MakeBench, threads: int, gpu: str | None) -> None:
    """A worker's life: jobs in, records out, until the driver closes the pipe, interrupts it, or is gone."""
    os.setpgrp()  # a terminal's Ctrl-C is the driver's to pass on: twice would spoil the checkpoint
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_follow_driver, daemon=True).start()
    try:
        share.settle(threads, gpu)
        bench = make()
        while True:
            pipe.send(bench.do(pipe.recv()))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _forkserver() -> Any:
    """Workers fork from a clean process that has imported everything, and start at once: no GPU is in use in it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([Bench.__module__, *PRELOADED])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server imports before it is told our path
    try:
        context.Process(target=int).start()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _follow_driver() -> None:
    """End this process with the driver's: no orphan may go on writing."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)
