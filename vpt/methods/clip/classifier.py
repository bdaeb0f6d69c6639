"""What a tuned CLIP's texts came to: from features of images to logits, by constants, with nothing attached."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vpt.errors import OptionError
from vpt.methods.clip.ensemble import cosines, normalised
from vpt.methods.clip.tuned_clip import TunedClip


class ClipClassifier(nn.Module):
    """From normalised image features `[B, F]` to the logits `[B, C]` that `model` gives in eval; outlives `detach()`.

    The class features are computed here, once; where they depend on the image, with each batch.
    Raises `OptionError` where these need hooks on the text tower.
    """

    classes: Tensor

    def __init__(self, model: TunedClip) -> None:
        super().__init__()
        learned = model.eval().learned
        if learned.per_image and model.named is not None and model.named.needs_hooks:
            raise OptionError(f"{model.method!r} encodes texts for each image, which needs hooks on this text tower")
        self.classnames = model.classnames
        self._clip: tuple[Any] = (model.backbone,)  # in a tuple: it is not a part of this
        self._compare = learned.compare
        self._per_image: Callable[[Any, Tensor], Tensor] | None = learned.features if learned.per_image else None
        self.prompts = model.prompts if self._compare or self._per_image else None
        self.encoder = model.named if self._per_image else None
        with torch.no_grad():
            constant = learned.features is not None and not learned.per_image
            found = model.text_features() if constant else torch.empty(0, model.site.features)
        self.register_buffer("classes", found.clone())

    @torch.no_grad()
    def forward(self, seen: Tensor) -> Tensor:
        """Logits `[B, C]` of images with normalised features `[B, F]`."""
        classes = self.classes if self._per_image is None else normalised(self._per_image(self, seen))
        own = self._compare
        return self.cosines(seen, classes) if own is None else own(self, seen, classes)

    def cosines(self, seen: Tensor, classes: Tensor) -> Tensor:
        """CLIP's own logits of normalised features."""
        return cosines(self._clip[0], seen, classes)

    def learned_tensors(self, *args: Tensor) -> Tensor:
        """What the module of learned tensors answers."""
        if self.prompts is None:
            raise OptionError("nothing but class features was kept of this method")
        found: Tensor = self.prompts(*args)
        return found

    def encode(self, contexts: Tensor) -> Tensor:
        """Features `[K, C, F]`, not normalised, of the class names with contexts `[K, 1 or C, M, D]`."""
        if self.encoder is None:
            raise OptionError("the class features of this method depend on no image")
        found: Tensor = self.encoder(contexts, getattr(self.prompts, "deeper", None))
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> ClipClassifier:
        """A copy of what is its own; the CLIP stays the same one."""
        shared = [*self._clip, *([] if self.encoder is None else self.encoder.shared)]
        memo.update({id(part): part for part in shared})
        found = self.__class__.__new__(self.__class__)
        memo[id(self)] = found
        found.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return found
