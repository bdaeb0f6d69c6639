"""Methods that hold what they learn near to the frozen CLIP: `prograd`, `promptsrc`. See `kgcoop`, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.errors import OptionError
from vpt.methods.clip.both_towers import independent
from vpt.methods.clip.contexts import PHOTO_WORDS, ContextInit, from_context, started
from vpt.methods.clip.epoch_average import EpochAverage
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, check_weight
from vpt.methods.clip.learned import ClipLearned, ClipTask, Pass, clip_method
from vpt.prompts import Context
from vpt.prompts.class_texts import Position

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip


@clip_method("prograd")
def prograd(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int | None = None,
    position: Position = "end",
    words: str | None = None,
    init: ContextInit = "normal",
    templates: Templates = PHOTO,
) -> ClipLearned:
    """ProGrad: CoOp whose steps never oppose the zero-shot predictions (arXiv:2205.14865)."""
    length, start = started(task, context_length, 16, words, init)
    context = Context(task.site.width, length, start, generator=generator)
    return ClipLearned(from_context, context, length, position, templates=as_templates(templates), guide=from_zero_shot)


@clip_method("promptsrc")
def promptsrc(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int = 4,
    visual_length: int = 4,
    depth: int = 9,
    words: str = PHOTO_WORDS,
    templates: Templates = "imagenet",
    text_weight: float = 25.0,
    image_weight: float = 10.0,
    average_mean: float = 0.75,
    average_std: float = 0.05,
) -> ClipLearned:
    """PromptSRC: prompts in both towers, kept near the frozen features and averaged over epochs (arXiv:2307.06948).

    average_mean, average_std: of the Gaussian over epochs, as shares of their number (published: 15 and 1 of 20).
    """
    for name, value in (("text_weight", text_weight), ("image_weight", image_weight), ("average_std", average_std)):
        check_weight(name, value)
    if not isinstance(average_mean, int | float) or isinstance(average_mean, bool) or not 0 <= average_mean <= 1:
        raise OptionError(f"average_mean is {average_mean!r}; accepted: a share of the epochs, from 0 to 1")
    prompts, after = independent(task, generator, context_length, visual_length, depth, words)
    return ClipLearned(
        from_context, prompts, context_length, after=after, templates=as_templates(templates), visual=prompts.visual,
        penalty=NearFrozen(text_weight, image_weight), wants_frozen=True,
        average=EpochAverage(average_mean, average_std),
    )  # fmt: skip


def from_zero_shot(model: TunedClip, last: Pass) -> Tensor:
    """KL(zero-shot || predictions), the mean over images."""
    fixed = model.zero_shot_logits(last.seen.detach())
    return F.kl_div(last.logits.log_softmax(1), fixed.log_softmax(1), reduction="batchmean", log_target=True)


class NearFrozen:
    """Mean absolute differences of class and of image features from the frozen ones, and KL(zero-shot || predictions).

    The divergence is a mean over images and classes, as published.
    """

    def __init__(self, text: float, image: float) -> None:
        self.text, self.image = text, image

    def __call__(self, model: TunedClip, last: Pass) -> Tensor:
        if last.frozen is None:
            raise OptionError("this loss compares with the frozen image tower: call the model on images, not features")
        texts = F.l1_loss(last.classes, model.template_features().to(last.classes.dtype))
        images = F.l1_loss(last.seen, last.frozen)
        fixed = model.zero_shot_logits(last.frozen).log_softmax(1)
        drift = F.kl_div(last.logits.log_softmax(1), fixed, reduction="sum", log_target=True) / fixed.numel()
        return self.text * texts + self.image * images + drift
