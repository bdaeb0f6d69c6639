"""Many tasks on one backbone: the predictor, and the server over it."""

from __future__ import annotations

from vpt.serving.predictor import Predictor
from vpt.serving.result import Result
from vpt.serving.task import Task

__all__ = ["Predictor", "Result", "Task"]
