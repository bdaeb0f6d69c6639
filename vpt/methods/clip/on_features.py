"""Comparators that learn on the features of a frozen image tower: `linear`, `clip_adapter`."""

from __future__ import annotations

import torch
from torch import Tensor

from vpt.errors import OptionError, unknown
from vpt.methods.clip.at_start import text_features
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, from_templates
from vpt.methods.clip.learned import ClipLearned, ClipTask, Comparing, clip_method
from vpt.prompts.on_features import Bottleneck, Classifier
from vpt.prompts.tokens import check_positive

STARTS = ("zeros", "text")


@clip_method("linear")
def linear(
    task: ClipTask, generator: torch.Generator, init: str = "zeros", templates: Templates = PHOTO
) -> ClipLearned:
    """Linear probe on image features; with init="text" it starts as zero-shot by the templates, else from zeros."""
    if init not in STARTS:
        raise unknown("init", init, STARTS)
    sentences = as_templates(templates)
    return ClipLearned(None, _from_text(task, sentences) if init == "text" else _from_zeros(task), compare=classified)


@clip_method("clip_adapter")
def clip_adapter(
    task: ClipTask, generator: torch.Generator, templates: Templates = PHOTO, mix: float = 0.2, reduction: int = 4
) -> ClipLearned:
    """CLIP-Adapter (arXiv:2110.04544): a bottleneck's answer is mixed into the image features; texts stay fixed."""
    check_positive("reduction", reduction)
    if not isinstance(mix, int | float) or isinstance(mix, bool) or not 0 < mix <= 1:
        raise OptionError(f"mix is {mix!r}; accepted: the share of the adapter's answer, above 0, at most 1")
    layers = Bottleneck(task.site.features, reduction, mix, generator)
    return ClipLearned(from_templates, layers, templates=as_templates(templates), compare=adapted)


def classified(model: Comparing, seen: Tensor, classes: Tensor) -> Tensor:
    """Logits `[B, C]` by the classifier alone."""
    return model.learned_tensors(seen)


def adapted(model: Comparing, seen: Tensor, classes: Tensor) -> Tensor:
    """Logits `[B, C]` of adapted image features."""
    return model.cosines(model.learned_tensors(seen), classes)


def _from_zeros(task: ClipTask) -> Classifier:
    classes = len(task.classnames)
    return Classifier(torch.zeros(classes, task.site.features), torch.zeros(classes))


def _from_text(task: ClipTask, templates: tuple[str, ...]) -> Classifier:
    """The classifier whose logits are CLIP's own for the templates."""
    texts, clip = text_features(task, templates), task.site.model
    with torch.no_grad():
        weight = clip.logit_scale.to(texts.dtype).exp() * texts / texts.shape[1] ** 0.5
        bias = getattr(clip, "logit_bias", None)
        return Classifier(weight, texts.new_zeros(len(texts)) + (0 if bias is None else bias.to(texts.dtype)))
