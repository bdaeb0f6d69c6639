"""Bytes: the peak of one training step, in a process of its own, and what autograd keeps for the backward pass."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed import text
from benchmarks.speed.models import TrainingStep, batch, build
from benchmarks.speed.plan import Case, Contender

THRESHOLD = "MALLOC_MMAP_THRESHOLD_"


class Resident:
    """Resident memory of this process, in bytes. Without Linux's /proc both answers are the largest of its life."""

    def now(self) -> int:
        """What is resident now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most since `reset`."""
        return self._status("VmHWM")

    def reset(self) -> bool:
        """Begin a new peak; False where the system does not let us."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def _status(self, field: str) -> int:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
        except (OSError, StopIteration):
            largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return largest if sys.platform == "darwin" else largest * 1024


class Allocated:
    """Memory that torch has allocated on CUDA, in bytes."""

    def now(self) -> int:
        """What is allocated now."""
        return int(torch.cuda.memory_allocated())

    def peak(self) -> int:
        """The most since `reset`."""
        return int(torch.cuda.max_memory_allocated())

    def reset(self) -> bool:
        """Begin a new peak."""
        torch.cuda.reset_peak_memory_stats()
        return True


def saved_for_backward(forward: Callable[[], Tensor], owned: Iterable[Tensor] = ()) -> int:
    """Bytes of the distinct storages that autograd keeps of `forward`, without those of `owned` tensors."""
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their addresses from being used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    own = {tensor.untyped_storage().data_ptr() for tensor in owned}
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


def peak(case: Case) -> dict[str, int]:
    """What one training step of the case's contender takes. To be called in a fresh process."""
    memory = Allocated() if case.device == "cuda" else Resident()
    _step(_smallest(case))()  # what is loaded on first use is not the contender's
    resting = memory.now()
    step = _step(case)
    step()
    resettable = memory.reset()
    step()
    found = {"peak": memory.peak(), "resting": resting, "reset": int(resettable)}
    return found | {"saved": saved_for_backward(step.loss, [*step.model.parameters(), *step.model.buffers()])}


def _smallest(case: Case) -> Case:
    if case.what == "text-memory":
        return replace(case, backbone="quick", contenders=(Contender("plain"),), options={**case.options, "texts": 2})
    return replace(case, backbone="quick", contenders=(Contender("floor"),), compile=False)


def _step(case: Case) -> TrainingStep:
    (contender,) = case.contenders
    if case.what == "text-memory":
        return text.step(contender, case, case.options["texts"])
    images, labels = batch(case.backbone, case.batch, case.device)
    return TrainingStep(build(contender, case.backbone, case.device), images, labels, case)


def alone(case: Case, done: int) -> Iterator[dict[str, int]]:
    """The one row of a `memory` case. A spawned process is a whole one; a forked one shares its libraries' pages."""
    context = multiprocessing.get_context(case.options["start"])
    context.set_forkserver_preload(["timm", "open_clip", "vpt.methods"])  # once, where processes are forked
    with returning_memory(), ProcessPoolExecutor(1, context) as pool:
        yield pool.submit(peak, case).result()


@contextmanager
def returning_memory() -> Iterator[None]:
    """Processes started inside give freed tensors back to the system at once.

    glibc keeps what is freed between tensors that stay, by a threshold that moves with use; then the resident memory
    tells its bookkeeping, and not what a step needs.
    """
    before = os.environ.get(THRESHOLD)
    os.environ[THRESHOLD] = str(2**16)
    try:
        yield
    finally:
        del os.environ[THRESHOLD]
        if before is not None:
            os.environ[THRESHOLD] = before
