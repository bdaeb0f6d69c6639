"""What a trial's record says besides the trial itself: outcome, provenance, cost."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.suite.folder import DIVERGED, DONE, FAILED, SCHEMA, timestamp
from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import SEARCH, Point, Trial
from vpt.artifacts.save import jsonable
from vpt.errors import VptError
from vpt.methods import Tuned, TunedClip
from vpt.runs.prepare import Prepared
from vpt.runs.run import METRICS, device_name, parameter_counts
from vpt.training.config import FitConfig
from vpt.training.versions import versions


@dataclass(frozen=True)
class Clock:
    """When a trial began. seconds: what it took, where that is not the time since then."""

    started: str
    ticks: float
    seconds: float | None = None

    @classmethod
    def now(cls) -> Clock:
        """A clock that starts now."""
        return cls(timestamp(), time.perf_counter())

    def adding(self, seconds: float) -> Clock:
        """The same start, but so many seconds in all: those before an interruption count."""
        return replace(self, seconds=seconds)

    def cost(self, epochs: Sequence[float] = (), peak: int | None = None, together: int = 1) -> dict[str, Any]:
        """Seconds in all and per epoch, peak memory in bytes, when and where: what may differ between equal results.

        together: how many trials shared the computation; each has its share of the seconds.
        """
        seconds = time.perf_counter() - self.ticks if self.seconds is None else self.seconds
        return {
            "seconds": seconds / together, "seconds_per_epoch": list(epochs), "peak_memory": peak, "together": together,
            "started": self.started, "finished": timestamp(), "host": socket.gethostname(),
        }  # fmt: skip


def provenance(
    settings: Settings, prepared: Prepared, model: Tuned | TunedClip, trial: Trial, point: Point, fit: FitConfig
) -> dict[str, Any]:
    """What a trial was trained with: point, method, preprocessing, backbone, recipe, versions."""
    return {
        "measured_on": "val" if trial.stage == SEARCH else "test",
        "chosen": {"lr": point.lr, "weight_decay": point.weight_decay, "by": list(point.by) or None},
        "parameters": parameter_counts(model),
        "method": {"name": model.method, "path": model.path, "options": model.options},
        "preprocessing": prepared.preprocessing.to_dict(),
        "backbone": {"name": settings.backbone.name, "checkpoint": settings.backbone.checkpoint,
                     "fingerprint": prepared.fingerprint},
        "train": fit.to_dict(),
        "versions": versions(),
        "device": device_name(model),
        "precision": fit.precision,
    }  # fmt: skip


def rates(found: Any) -> dict[str, float]:
    """The figures of an evaluation that a record holds."""
    return {name: getattr(found, name) for name in METRICS}


@dataclass(frozen=True)
class Measured:
    """metrics: what was measured, rates in [0, 1]. remarks: what could not be, and why."""

    metrics: Mapping[str, float]
    remarks: Sequence[str] = ()


def done(found: Measured, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The outcome of a trial that was trained to its end and measured."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history]
    return {"status": DONE, "metrics": dict(found.metrics), "remarks": list(found.remarks), "history": rows}


def diverged(reason: str) -> dict[str, Any]:
    """The outcome of a trial whose loss or logits came to NaN or infinity: a result, and a final one."""
    return {"status": DIVERGED, "reason": reason}


def failed(error: Exception) -> dict[str, Any]:
    """The outcome of a trial that an exception ended; it will be tried again."""
    story = "".join(traceback.format_exception(error))
    reason = str(error) if isinstance(error, VptError) else f"{type(error).__name__}: {error}"
    return {"status": FAILED, "reason": reason, "traceback": story}


def failures(trials: Sequence[Trial], error: Exception, clock: Clock | None = None) -> list[dict[str, Any]]:
    """The records of trials that one exception ended, or kept from beginning."""
    cost = {"cost": (clock or Clock.now()).cost(together=len(trials))}
    return [record(trial, failed(error), cost) for trial in trials]


def record(trial: Trial, *parts: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's record, JSON-able, of its outcome, provenance and cost."""
    content: dict[str, Any] = {
        "schema": SCHEMA, "id": trial.id, "trial": trial.to_dict(), "status": None, "reason": None, "traceback": None,
        "metrics": None, "history": [], "parameters": None,
    }  # fmt: skip
    for part in parts:
        content |= part
    plain: dict[str, Any] = json.loads(json.dumps(jsonable(content)))
    return plain
