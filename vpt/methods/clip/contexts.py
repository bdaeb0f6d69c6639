"""Learned contexts of class names: `coop`, `cocoop`, `kgcoop`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.errors import OptionError, unknown
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, check_weight
from vpt.methods.clip.learned import ClipLearned, ClipTask, Pass, clip_method
from vpt.prompts import init as inits
from vpt.prompts.class_texts import Position
from vpt.prompts.context import ConditionalContext, Context
from vpt.prompts.tokens import check_flag, check_positive

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip

ContextInit = str | Any
"""How a context starts that no words start: `normal`, N(0, 0.02²); `photo`, as the embeddings of "a photo of a" where
these are as many tokens as the context, else `normal`; or an array `[M, D]`, with a context per class also `[C, M, D]`.
"""

INITS = ("normal", "photo")
PHOTO_WORDS = "a photo of a"


@clip_method("coop")
def coop(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int | None = None,
    class_specific: bool = False,
    position: Position = "end",
    words: str | None = None,
    init: ContextInit = "normal",
) -> ClipLearned:
    """CoOp: context tokens beside every class name; context_length is 16, or that of the words it starts from."""
    check_flag("class_specific", class_specific)
    length, start = started(task, context_length, 16, words, init)
    classes = len(task.classnames) if class_specific else None
    context = Context(task.site.width, length, start, classes=classes, generator=generator)
    return ClipLearned(from_context, context, length, position)


@clip_method("cocoop")
def cocoop(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int | None = None,
    position: Position = "end",
    words: str | None = None,
    init: ContextInit = "photo",
) -> ClipLearned:
    """CoCoOp: a context (of 4, from "a photo of a") that a small network shifts for each image."""
    length, start = started(task, context_length, 4, words, init)
    context = ConditionalContext(task.site.width, length, task.site.features, start, generator)
    return ClipLearned(from_images, context, length, position, per_image=True)


@clip_method("kgcoop")
def kgcoop(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int | None = None,
    position: Position = "end",
    words: str | None = None,
    init: ContextInit = "photo",
    templates: Templates = PHOTO,
    weight: float = 8.0,
) -> ClipLearned:
    """KgCoOp: a context (of 4, from "a photo of a"), kept near the templates' text by weight × (1 - cosine).

    arXiv:2303.13283.
    """
    length, start = started(task, context_length, 4, words, init)
    check_weight("weight", weight)
    context = Context(task.site.width, length, start, generator=generator)
    return ClipLearned(
        from_context, context, length, position, templates=as_templates(templates), penalty=Distance(weight)
    )


class Distance:
    """`weight` × the mean over classes of 1 - cosine between learned text features and those of the templates."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, model: TunedClip, last: Pass) -> Tensor:
        fixed = model.template_features().to(last.classes.dtype)
        return self.weight * (1 - F.cosine_similarity(last.classes, fixed, dim=-1)).mean()


def from_context(model: TunedClip, images: Tensor) -> Tensor:
    """Class features `[C, F]` of names with the learned context."""
    return model.encode(model.learned_tensors()).squeeze(0)


def from_images(model: TunedClip, images: Tensor) -> Tensor:
    """Class features `[B, C, F]` of names with a context for each image."""
    return model.encode(model.learned_tensors(images))


def started(
    task: ClipTask, length: int | None, default: int, words: str | None, init: ContextInit
) -> tuple[int, inits.Initializer]:
    """The number of context tokens, and what they start from: the embeddings of `words`, or `init`."""
    if length is not None:
        check_positive("context_length", length)
    if isinstance(init, str) and init not in INITS:
        raise unknown("init", init, INITS)
    if words is None:
        return length or default, _unworded(task, length or default, init)
    if not isinstance(init, str):
        raise OptionError(f"words is {words!r} and init is given too; accepted: one of the two")
    ids = task.words([words])[0] if isinstance(words, str) else []
    if not ids:
        raise OptionError(f"words is {words!r}; accepted: a text such as {PHOTO_WORDS!r}")
    if length not in (None, len(ids)):
        raise OptionError(f"context_length is {length}, but words={words!r} are {len(ids)} tokens; give one of the two")
    return len(ids), embedded(task, ids)


def _unworded(task: ClipTask, length: int, init: ContextInit) -> inits.Initializer:
    if not isinstance(init, str):
        return inits.from_array(init)
    ids = task.words([PHOTO_WORDS])[0] if init == "photo" else []
    return embedded(task, ids) if len(ids) == length else inits.normal(0.02)


def embedded(task: ClipTask, ids: list[int]) -> inits.Initializer:
    """What starts as the embeddings of these tokens."""
    with torch.no_grad():
        rows = task.site.embed(torch.tensor(ids, device=task.site.device)).cpu()
    return inits.from_array(rows.to(torch.promote_types(rows.dtype, torch.float32)))
