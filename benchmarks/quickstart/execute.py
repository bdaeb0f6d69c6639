"""Doing a plan: several runs at once, one process and one thread each."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from vpt.runs.config import RunConfig
from vpt.runs.run import run


def one_thread() -> None:
    """Each worker computes on one core: several small models at once are faster than one on all cores."""
    import torch

    torch.set_num_threads(1)


def processes(workers: int | None) -> ProcessPoolExecutor:
    """A pool of fresh interpreters with one thread each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread)


def execute(config: RunConfig) -> str:
    """Do one run, and answer with its name and accuracy."""
    result = run(config, quiet=True)
    name = f"{config.data.name}, {config.method.name}, seed {config.seeds[0]}"
    return f"{name}: {result['metrics']['accuracy']:.1%} in {result['seconds']:.0f} s"


def execute_all(configs: list[RunConfig], workers: int) -> None:
    """Do all runs; a line for each. Finished ones are read, not repeated."""
    with processes(workers) as pool:
        futures = [pool.submit(execute, config) for config in configs]
        for done, future in enumerate(as_completed(futures), 1):
            print(f"[{done}/{len(configs)}] {future.result()}", flush=True)
