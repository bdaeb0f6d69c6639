"""Training: one loop, its settings, checkpoints, logs, evaluation and reports."""

from vpt.training.attention import class_attention
from vpt.training.config import FitConfig
from vpt.training.evaluate import Evaluation, evaluate, predict
from vpt.training.features import features
from vpt.training.files import write_atomically
from vpt.training.fit import FitResult, fit
from vpt.training.log import Logger
from vpt.training.report import write_report

__all__ = [
    "Evaluation",
    "FitConfig",
    "FitResult",
    "Logger",
    "class_attention",
    "evaluate",
    "features",
    "fit",
    "predict",
    "write_atomically",
    "write_report",
]
