"""The machine a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """CPU, cores and threads that torch computes with; on CUDA the GPU too. JSON-able."""
    found: dict[str, Any] = {"cpu": _cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if device == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def load() -> float | None:
    """Processes that wanted a core in the last minute, this one included; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def in_words(machine: dict[str, Any]) -> str:
    """`AMD EPYC, 2 cores, 1 thread`."""
    parts = [machine[key] for key in ("gpu", "cpu") if key in machine]
    parts += [f"{machine[key]} {key if machine[key] != 1 else key[:-1]}" for key in ("cores", "threads")]
    return ", ".join(parts)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
