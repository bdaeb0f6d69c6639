"""Classes by fixed sentences: `zero_shot`, and `taskres`, which learns a residual of their features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vpt.errors import OptionError
from vpt.methods.clip.learned import ClipLearned, ClipTask, clip_method
from vpt.prompts.context import Residuals

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip

Templates = str | Sequence[str]
"""Sentences with {} for the class name; the features of several are averaged. Or the name of one of `ENSEMBLES`."""

ENSEMBLES = {"imagenet": "OPENAI_IMAGENET_TEMPLATES", "imagenet_simple": "SIMPLE_IMAGENET_TEMPLATES"}
"""CLIP's own ensembles of 80 and of 7 sentences, by the names that open_clip has them under."""

PHOTO = "a photo of a {}."


@clip_method("zero_shot")
def zero_shot(task: ClipTask, generator: torch.Generator, templates: Templates = PHOTO) -> ClipLearned:
    """CLIP as it is: class names in one or more sentences, nothing learned."""
    return ClipLearned(from_templates, templates=as_templates(templates))


@clip_method("taskres")
def taskres(
    task: ClipTask, generator: torch.Generator, templates: Templates = PHOTO, alpha: float = 0.5
) -> ClipLearned:
    """TaskRes: a vector per class, times alpha, is added to its fixed text feature."""
    check_weight("alpha", alpha)
    residuals = Residuals(len(task.classnames), task.site.features, alpha)
    return ClipLearned(shifted, residuals, templates=as_templates(templates))


def from_templates(model: TunedClip, images: Tensor) -> Tensor:
    """Class features `[C, F]` of the templates."""
    return model.template_features()


def shifted(model: TunedClip, images: Tensor) -> Tensor:
    """Class features `[C, F]` of the templates plus the learned residuals."""
    return model.template_features() + model.learned_tensors()


def as_templates(templates: Templates) -> tuple[str, ...]:
    """The templates as a tuple; their texts are checked where they are made into tokens."""
    if isinstance(templates, str) and templates in ENSEMBLES:
        import open_clip

        return tuple(sentence("{}") for sentence in getattr(open_clip, ENSEMBLES[templates]))
    if isinstance(templates, str):
        return (templates,)
    if not isinstance(templates, Sequence) or not templates:
        raise OptionError(f"templates is {templates!r}; accepted: a text with {{}} for the name, or a list of such")
    return tuple(templates)


def check_weight(name: str, value: object) -> None:
    """Raise `OptionError` unless `value` is a finite number above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise OptionError(f"{name} is {value!r}; accepted: a number above 0")
