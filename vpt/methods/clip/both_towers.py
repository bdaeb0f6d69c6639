"""Prompts in the image tower, and in both towers: `clip_vpt`, `ivlp`, `maple`."""

from __future__ import annotations

import torch

from vpt.errors import OptionError
from vpt.methods.clip.contexts import PHOTO_WORDS, embedded, from_context
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, from_templates
from vpt.methods.clip.learned import ClipLearned, ClipTask, clip_method
from vpt.methods.layers import Layers, resolve
from vpt.prompts import BothTowers, CoupledTokens, LayeredContext, TokenPrompts
from vpt.prompts import init as inits
from vpt.prompts.tokens import check_positive


@clip_method("clip_vpt")
def clip_vpt(
    task: ClipTask, generator: torch.Generator, length: int = 8, layers: Layers = "all", templates: Templates = PHOTO
) -> ClipLearned:
    """VPT in CLIP's image tower, deep (or layers="first": shallow); classes are names in fixed sentences."""
    site = task.visual
    blocks = resolve(layers, site.depth)
    prompts = TokenPrompts(site.width, length, blocks, inits.normal(0.02), generator=generator)
    return ClipLearned(from_templates, prompts, templates=as_templates(templates), visual=prompts)


@clip_method("ivlp")
def ivlp(
    task: ClipTask,
    generator: torch.Generator,
    context_length: int = 2,
    visual_length: int = 2,
    depth: int = 12,
    words: str = PHOTO_WORDS,
) -> ClipLearned:
    """Independent prompts in both towers, layer by layer (the baseline of arXiv:2307.06948)."""
    prompts, after = independent(task, generator, context_length, visual_length, depth, words)
    return ClipLearned(from_context, prompts, context_length, after=after, visual=prompts.visual)


@clip_method("maple")
def maple(
    task: ClipTask, generator: torch.Generator, context_length: int = 2, depth: int = 9, words: str = PHOTO_WORDS
) -> ClipLearned:
    """MaPLe: text prompts layer by layer, and the image tower's as linear maps of them (arXiv:2210.03117)."""
    text, after = layered(task, generator, context_length, min(depth, task.visual.depth), words)
    prompts = BothTowers(text, CoupledTokens(text, task.visual.width, generator))
    return ClipLearned(from_context, prompts, context_length, after=after, visual=prompts.visual)


def layered(
    task: ClipTask, generator: torch.Generator, length: int, depth: int, words: str
) -> tuple[LayeredContext, tuple[int, ...]]:
    """A context for the first `depth` text blocks, and the ids of the fixed words after it.

    The first block's starts as the first `length` tokens of `words`, whose others stay where they are, as published.
    A tower of fewer blocks gets as many as it has.
    """
    check_positive("context_length", length)
    check_positive("depth", depth)
    ids = task.words([words])[0] if isinstance(words, str) else []
    if len(ids) < length:
        raise OptionError(f"words={words!r} are {len(ids)} tokens; accepted: context_length ({length}) of them or more")
    start = embedded(task, ids[:length])
    context = LayeredContext(task.site.width, length, min(depth, task.site.depth), start, generator)
    return context, tuple(ids[length:])


def independent(
    task: ClipTask, generator: torch.Generator, length: int, visual_length: int, depth: int, words: str
) -> tuple[BothTowers, tuple[int, ...]]:
    """A `layered` context, tokens of their own for the first `depth` blocks of the image tower, or for all where it has
    fewer, and the ids of the fixed words after the context.
    """
    text, after = layered(task, generator, length, depth, words)
    check_positive("visual_length", visual_length)
    site = task.visual
    blocks = tuple(range(min(depth, site.depth)))
    visual = TokenPrompts(site.width, visual_length, blocks, inits.normal(0.02), generator=generator)
    return BothTowers(text, visual), after
