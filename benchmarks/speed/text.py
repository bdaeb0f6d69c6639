"""Learned texts of class names: CoOp's training step and its pass of inference, on the plain and on the fused path.

The image tower is left out: image features are there already, as they are after the first epoch of a run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vpt
from benchmarks.speed.measure import in_turns
from benchmarks.speed.models import TrainingStep, Turn, autocast
from benchmarks.speed.plan import Case, Contender
from benchmarks.speed.settings import TOWERS
from vpt.attach import text_fused
from vpt.errors import OptionError
from vpt.methods import TunedClip

WARM_UP = 1
VISION = {"image_size": 32, "patch_size": 32, "width": 32, "head_width": 32, "layers": 1}
"""An image tower that is there because a CLIP has one."""


def steps(case: Case, done: int) -> Iterator[dict[str, float]]:
    """The rows of a timed case of texts that are still to come after `done`. Nothing is compiled."""
    turns = {contender.name: _turn(contender, case) for contender in case.contenders}
    yield from in_turns(turns, case, done, WARM_UP)


def _turn(contender: Contender, case: Case) -> Turn:
    if case.what == "text-infer":
        return Once(build(contender, case, case.options["texts"]), case)
    texts, at_once = case.options["texts"], case.options["at_once"]
    return step(contender, case, texts) if contender.kind == "fused" or texts <= at_once else _parts(contender, case)


def _parts(contender: Contender, case: Case) -> Turn:
    """A step over as many texts as fit, as often as it takes: plain texts are equally long, so the work is the same."""
    texts, at_once = case.options["texts"], case.options["at_once"]
    sizes = [at_once] * (texts // at_once) + ([texts % at_once] if texts % at_once else [])
    made = {size: step(contender, case, size) for size in dict.fromkeys(sizes)}

    def all_of_them() -> None:
        for size in sizes:
            made[size]()

    return all_of_them


def step(contender: Contender, case: Case, texts: int) -> TrainingStep:
    """A training step of the contender over the first `texts` class names."""
    seen, labels = batch(case, texts)
    return TextStep(build(contender, case, texts), seen, labels, case, contender.length)


class TextStep(TrainingStep):
    """As its base, on image features `[B, F]`; `tokens` are the most in one chunk of texts, None for vpt's own."""

    def __init__(self, model: TunedClip, seen: Tensor, labels: Tensor, case: Case, tokens: int | None) -> None:
        super().__init__(model, seen, labels, replace(case, compile=False))
        self.net, self.tokens = model.compare, tokens

    def loss(self) -> Tensor:
        """The loss with its graph."""
        with chunks_of(self.tokens):
            return super().loss()


class Once:
    """The features of all texts in inference mode, as evaluation computes them once for all images."""

    def __init__(self, model: TunedClip, case: Case) -> None:
        self.model, self.case = model.eval(), case

    def __call__(self) -> Tensor:
        with torch.inference_mode(), autocast(self.case):
            return self.model.encode(self.model.learned_tensors())


def build(contender: Contender, case: Case, texts: int) -> TunedClip:
    """CoOp over the first `texts` class names, on the contender's path."""
    clip = tower(case.backbone).to(case.device)
    names, length = classnames(texts), case.options["context"]
    return vpt.tune(clip, "coop", classnames=names, context_length=length, path=contender.kind)  # type: ignore[return-value]


def tower(name: str) -> nn.Module:
    """A CLIP around the text tower of that name in `settings.TOWERS`, with the same random weights for all."""
    from open_clip import CLIP

    chosen = TOWERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return CLIP(chosen.features, dict(VISION), dict(chosen.config))  # type: ignore[no-any-return]


def classnames(number: int) -> list[str]:
    """The first of ImageNet's 1000 class names in a shuffled order; of two alike the second is told apart.

    Raises `OptionError` for more than there are.
    """
    from open_clip import IMAGENET_CLASSNAMES

    names: dict[str, None] = {}
    for name in IMAGENET_CLASSNAMES:
        names[f"other {name}" if name in names else name] = None
    if number > len(names):
        raise OptionError(f"texts: {number} given; accepted: 1 to {len(names)}, the class names that there are")
    return random.Random(0).sample([*names], len(names))[:number]


def batch(case: Case, texts: int) -> tuple[Tensor, Tensor]:
    """Random image features `[B, F]`, normalised, and labels `[B]`, the same for every contender."""
    generator = torch.Generator().manual_seed(1)
    seen = F.normalize(torch.randn(case.batch, TOWERS[case.backbone].features, generator=generator), dim=-1)
    return seen.to(case.device), torch.randint(texts, (case.batch,), generator=generator).to(case.device)


@contextmanager
def chunks_of(tokens: int | None) -> Iterator[None]:
    """The fused path with at most so many tokens in one chunk of texts, vpt's own number again afterwards."""
    before: Any = text_fused.TOKENS_AT_ONCE
    text_fused.TOKENS_AT_ONCE = before if tokens is None else tokens
    try:
        yield
    finally:
        text_fused.TOKENS_AT_ONCE = before
