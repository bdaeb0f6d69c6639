"""The one place that asks accelerate for devices, precision and processes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from vpt.errors import OptionError

if TYPE_CHECKING:
    from accelerate import Accelerator

_NAMES = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator_for(precision: str) -> Accelerator:
    """An `Accelerator` for "fp32", "bf16" or "fp16" on this process's device; raises `OptionError` if it cannot."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # accelerate keeps one precision per process; a second run may want another on the same devices
    if AcceleratorState._shared_state.get("_mixed_precision", _NAMES[precision]) != _NAMES[precision]:
        AcceleratorState._reset_state()
    try:
        found = Accelerator(mixed_precision=_NAMES[precision], cpu=_several_on_cpu())
    except ValueError as error:
        raise OptionError(f"precision: {precision!r} given; this machine does not accept it ({error})") from error
    if precision == "fp16" and found.scaler is None:  # accelerate falls back to float32 without a word
        raise OptionError(f"precision: 'fp16' given; accepted on a {found.device.type}: fp32, bf16")
    return found


def precision_of(accelerator: Accelerator | None) -> str:
    """The inverse of `accelerator_for`: "fp32", "bf16" or "fp16"; "fp32" without an accelerator."""
    asked = "no" if accelerator is None else accelerator.mixed_precision
    return next(name for name, theirs in _NAMES.items() if theirs == asked)


def _several_on_cpu() -> bool:
    """Whether torchrun started several processes on a machine without accelerators.

    Unless told so, accelerate takes each of them for a run of its own, and all write to the same folder.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available()


def seed_process(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, on every device."""
    from accelerate.utils import set_seed

    set_seed(seed)


def forget_peak(device: torch.device) -> None:
    """Begin a new peak of memory: of `device` on CUDA, else of this process, where its system can (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # not on this system, or not allowed in this container
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Bytes at most since `forget_peak`: allocated on CUDA; elsewhere resident, all of the process's libraries counted.

    Where a system cannot begin a new peak, it is that of the process's whole life.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def place(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating type of what `model` takes: its own `input_dtype`, else those of its first parameter."""
    parameter = next(model.parameters(), torch.empty(0))
    dtype = parameter.dtype if parameter.is_floating_point() else torch.float32
    return parameter.device, getattr(model, "input_dtype", dtype)
