"""vpt: visual prompt tuning for frozen timm and open_clip models. A task is a file of kilobytes.

Names are imported when they are first used, so that `vpt --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpt import (
        artifacts,
        backbones,
        data,
        errors,
        estimator,
        export,
        methods,
        prompts,
        runs,
        serving,
        sites,
        training,
    )
    from vpt.artifacts.hub import pull, push
    from vpt.artifacts.library import Library
    from vpt.artifacts.load import load
    from vpt.artifacts.save import save
    from vpt.backbones import load_backbone
    from vpt.data import ImageDataset, Preprocessing, load_task
    from vpt.estimator import PromptClassifier
    from vpt.methods.clip import TunedClip
    from vpt.methods.tune import tune
    from vpt.methods.tuned import Tuned
    from vpt.serving import Predictor
    from vpt.training.config import FitConfig
    from vpt.training.evaluate import evaluate
    from vpt.training.fit import fit

__all__ = [
    "FitConfig",
    "ImageDataset",
    "Library",
    "Predictor",
    "Preprocessing",
    "PromptClassifier",
    "Tuned",
    "TunedClip",
    "artifacts",
    "backbones",
    "data",
    "errors",
    "estimator",
    "evaluate",
    "export",
    "fit",
    "load",
    "load_backbone",
    "load_task",
    "methods",
    "prompts",
    "pull",
    "push",
    "runs",
    "save",
    "serving",
    "sites",
    "training",
    "tune",
]

_HOMES = {
    "FitConfig": "training",
    "ImageDataset": "data",
    "Library": "artifacts.library",
    "Predictor": "serving",
    "Preprocessing": "data",
    "PromptClassifier": "estimator",
    "Tuned": "methods",
    "TunedClip": "methods",
    "evaluate": "training",
    "fit": "training",
    "load": "artifacts",
    "load_backbone": "backbones",
    "load_task": "data",
    "pull": "artifacts",
    "push": "artifacts",
    "save": "artifacts",
    "tune": "methods",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"vpt.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"vpt.{name}")
    raise AttributeError(f"module 'vpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
