"""The methods of a plan on its backbone, without its tasks: whether they can be attached, and what a step costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import Trial
from vpt.data import Preprocessing
from vpt.methods import describe, tune
from vpt.runs.prepare import prepare_tokenizer
from vpt.sites.clip_text import is_open_clip


def attached(backbone: nn.Module, settings: Settings, trial: Trial, classes: int) -> Any:
    """What `vpt.tune` answers for the method of `trial`, for so many classes that nobody has named."""
    options = without_images(trial.options)
    if is_open_clip(backbone):
        if "support_images" in describe(trial.method, "open_clip").options:
            options |= {"support_images": random_images(backbone, classes), "support_labels": torch.arange(classes)}
        names, tokenizer = [f"class {c}" for c in range(classes)], prepare_tokenizer(settings.backbone)
        return tune(backbone, trial.method, classnames=names, tokenizer=tokenizer, path=settings.path, **options)
    given: dict[str, Any] = {"path": settings.path, "head_init": settings.head_init}
    return tune(backbone, trial.method, num_classes=classes, **given, **options)


def random_images(backbone: nn.Module, count: int, device: torch.device | None = None) -> torch.Tensor:
    """Noise `[count, 3, H, W]` of the size that the backbone takes."""
    return torch.rand(count, 3, *Preprocessing.of(backbone).size, device=device)


def without_images(options: Mapping[str, Any]) -> dict[str, Any]:
    """A method's options but for a start from images: of no matter to what a step costs, or whether it can be done."""
    from vpt.prompts.init import SELECTIONS

    return {name: value for name, value in options.items() if name != "init" or str(value) not in SELECTIONS}
