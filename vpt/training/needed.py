"""What every epoch must go through: the model from the first module on that learns. All before gives the same numbers
for an image each time, so it is computed once per image (see `vpt.training.frozen_inputs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach import trunk
from vpt.methods import Tuned, TunedClip
from vpt.prompts import AddedPrompts, TokenPrompts
from vpt.sites.modes import evaluating
from vpt.training.batches import Labelled
from vpt.training.devices import place


class Part(nn.Module, ABC):
    """The part of a tuned model that every epoch must go through, on what it reads of images instead of on these.

    start: what tells it from other parts of the same model; where: the same in words.
    """

    start: str | int
    where: str

    @abstractmethod
    def read(self, model: Any, images: Tensor) -> Tensor:
        """What the part reads, `[B, ...]`, of images `[B, 3, H, W]`, by all of the `model` that comes before it."""


class Heads(Part):
    """The heads of a tuned model (the very same modules) on what they read, `[B, K, D]`; K heads are averaged."""

    start, where = "head", "the head"

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(dict(heads))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits `[B, C]`."""
        return torch.stack([head(inputs[:, k]) for k, head in enumerate(self.heads.values())]).mean(0)

    def read(self, model: Tuned, images: Tensor) -> Tensor:
        """What each head reads of images `[B, 3, H, W]`: `[B, K, D]`."""
        caught: dict[str, Tensor] = {}
        handles = [head.register_forward_pre_hook(_Catch(caught, name)) for name, head in self.heads.items()]
        try:
            model(images)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack([caught[name] for name in self.heads], 1)


class Tail(Part):
    """A tuned model from block `start` on: tokens `[B, N, D]` that enter it, to logits `[B, C]`.

    image: any one image `[3, H, W]` of the data; its size decides what the blocks are told about positions.
    """

    start: int

    def __init__(self, model: Tuned, start: int, image: Tensor) -> None:
        super().__init__()
        self.model, self.start, self.where = model, start, f"block {start}"
        reference = next(model.parameters())
        with torch.no_grad():
            blank = torch.zeros_like(image, device=reference.device, dtype=reference.dtype)
            self.told = model.site.enter(model.backbone, blank.unsqueeze(0))[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[B, C]`."""
        site = self.model.site
        return site.leave(trunk.through(site, tokens, self.told, self.start, site.depth))

    def read(self, model: Tuned, images: Tensor) -> Tensor:
        """The tokens `[B, N, D]` of images `[B, 3, H, W]` that enter block `start`."""
        tokens, told = model.site.enter(model.backbone, images)
        return trunk.through(model.site, tokens, told, 0, self.start)


class Comparison(Part):
    """A tuned CLIP after its image tower: normalised features of images `[B, F]`, to logits `[B, C]`."""

    start, where = "image features", "the comparison with classes"

    def __init__(self, model: TunedClip) -> None:
        super().__init__()
        self.model = model

    @property
    def input_dtype(self) -> torch.dtype:
        """Of image features: float32 at least, whatever the towers compute in."""
        return torch.promote_types(place(self.model)[1], torch.float32)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, C]`."""
        return self.model.compare(features)

    def read(self, model: TunedClip, images: Tensor) -> Tensor:
        """The features `[B, F]` of images `[B, 3, H, W]`."""
        return model.image_features(images)


def needed_part(model: nn.Module, train: Labelled, val: Labelled | None) -> nn.Module:
    """The `Part` of the model where something frozen comes before and no image is augmented, else the model."""
    sets = [train] if val is None else [train, val]
    if not all(map(_never_changes, sets)):
        return model
    if isinstance(model, TunedClip):
        return model if _learns_to_see(model, torch.as_tensor(train[0]["image"])) else Comparison(model)
    if not (isinstance(model, Tuned) and model.head_names):
        return model
    if _learns_heads_alone(model):
        return Heads({name: model.backbone.get_submodule(name) for name in model.head_names})
    start = first_learned_block(model) if trunk.whole(model.site) else 0
    return Tail(model, start, torch.as_tensor(train[0]["image"])) if start else model


def first_learned_block(model: Tuned) -> int:
    """The first block that learned tensors can act on; the depth where only what follows the blocks learns."""
    learned, depth = model.learned, model.site.depth
    names = {*learned.parameters, *(f"{name}." for name in learned.modules)}
    starts = [_block_of(name, depth) for name in names]
    if isinstance(learned.prompts, TokenPrompts | AddedPrompts):
        starts.append(min(learned.prompts.layers, default=depth))
    elif learned.prompts is not None:
        starts.append(0)
    return min(starts, default=depth)


def _block_of(name: str, depth: int) -> int:
    """Where a backbone tensor acts: its block, after all blocks, or, as far as known, before them."""
    first, _, rest = name.partition(".")
    if first == "blocks":
        return int(rest.partition(".")[0])
    return depth if first in ("norm", "fc_norm", "attn_pool") else 0


def _learns_heads_alone(model: Tuned) -> bool:
    learned = model.learned
    return not (learned.prompts or learned.parameters or learned.modules)


def _learns_to_see(model: TunedClip, image: Tensor) -> bool:
    """Whether the features of an image `[3, H, W]` depend on anything that is learned."""
    with evaluating(model), torch.enable_grad():
        return model.image_features(image.unsqueeze(0).to(*place(model))).requires_grad


def _never_changes(dataset: Any) -> bool:
    """Whether every epoch sees the same images; only a dataset that says so is believed."""
    return getattr(getattr(dataset, "augment", None), "preset", None) == "none"


class _Catch:
    def __init__(self, caught: dict[str, Tensor], name: str) -> None:
        self.caught, self.name = caught, name

    def __call__(self, head: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.caught[self.name] = args[0]
