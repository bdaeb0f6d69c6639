"""What of a machine this process may use, and a worker's share of it."""

from __future__ import annotations

import os

from vpt.errors import OptionError


def cores() -> int:
    """Cores that this process may run on: fewer than the machine's under a batch system."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - macOS


def gpus() -> list[str]:
    """The GPUs that this process may see, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(i) for i in range(count)]


def default_workers() -> int:
    """One per GPU, else one per core."""
    return len(gpus()) or cores()


def check_workers(workers: int | None) -> None:
    """Raise `OptionError` for a number of workers that cannot be."""
    if workers is not None and workers < 1:
        raise OptionError(f"workers: {workers} given; accepted: a whole number from 1")


def settle(threads: int, gpu: str | None = None) -> None:
    """Give this process, a worker's, its share: threads, and the one GPU that it may see."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA is first used
    import torch

    torch.set_num_threads(threads)
