"""An open_clip model that tasks share: class features of each, and prompts of each in the image tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpt.artifacts import Manifest
from vpt.artifacts.binding import check_tokenizer
from vpt.artifacts.load import cast_like, rebuild
from vpt.artifacts.save import tokenizer_of
from vpt.attach.entering import NOTHING
from vpt.attach.mixed import SharedSite
from vpt.attach.mixture import Mixture
from vpt.data import Preprocessing
from vpt.errors import UnsupportedBackbone
from vpt.methods import TunedClip
from vpt.methods.clip.classifier import ClipClassifier
from vpt.methods.clip.ensemble import normalised
from vpt.methods.clip.image_encoder import steps_are_all
from vpt.serving.shared import SharedBackbone, check_size, class_names, grid, wrong_size
from vpt.serving.task import Task
from vpt.sites.clip_visual import image_dtype, visual_site


class SharedClip(SharedBackbone):
    """Tasks on a CLIP; the features of a task's classes are computed when it is added.

    An image tower that takes no prompts is shared by tasks that have none there.
    """

    def __init__(self, backbone: nn.Module, tokenizer: Callable[..., Tensor] | None = None) -> None:
        super().__init__(backbone)
        self._tokenizer = tokenizer
        self._shared = _shared_tower(backbone)
        self.base = Task(None, (), Preprocessing.of(backbone), nn.Identity())

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the images that it takes."""
        return image_dtype(self.backbone)

    def check_size(self, height: int, width: int) -> None:
        """Raise `OptionError` for images of another size, in pixels, than it takes."""
        if self._shared is not None:
            check_size(self._shared.site, height, width)
        elif (height, width) != (taken := self.base.preprocessing.size):
            raise wrong_size(height, width, "{} x {}".format(*taken))

    def features(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, ...]:
        """Normalised features `[B, F]` of images `[B, 3, H, W]`, with each task's prompts in the tower."""
        clip: Any = self.backbone
        if self._shared is None:
            return (normalised(clip.encode_image(images, normalize=False)),)
        (found,) = self._shared.features(images, mixture)
        return (normalised(found if self._shared.site.backbone is clip.visual else clip.visual.head(found)),)

    def looking(self, images: Tensor, mixture: Mixture) -> Tensor | None:
        """Attention of the class token to the patches in the last block, `[B, H', W']`; None where there is none."""
        shared = self._shared
        return None if shared is None else grid(shared.looking(images, mixture), shared.site, images)

    def _task(self, folder: Path, name: str, manifest: Manifest, state: dict[str, Tensor], *, force: bool) -> Task:
        model = rebuild(self.backbone, manifest, folder, self._tokenizer)
        try:
            return self._as_task(model, folder, name, manifest, state, force=force)
        finally:
            model.detach()

    def _as_task(
        self, model: Any, folder: Path, name: str, manifest: Manifest, state: dict[str, Tensor], *, force: bool
    ) -> Task:
        tuned: TunedClip = model
        if not force:
            check_tokenizer(manifest.tokenizer or {}, tokenizer_of(tuned), folder)
        tuned.load_trained_state(cast_like(tuned.trained_state(), state, folder))
        visual = tuned.learned.visual
        if visual is not None and self._shared is None:
            raise UnsupportedBackbone(f"{str(folder)!r} has prompts for an image tower that takes none")
        entering = NOTHING if self._shared is None else self._shared.entering(visual)
        answer = ClipClassifier(tuned).requires_grad_(False).eval()
        preprocessing = self._preprocessing(manifest)
        return Task(name, class_names(manifest), preprocessing, answer, entering, manifest, folder)


def _shared_tower(clip: nn.Module) -> SharedSite | None:
    """The image tower where it takes prompts; None for others, such as a ResNet."""
    try:
        site = visual_site(clip)
    except UnsupportedBackbone:
        return None
    if not steps_are_all(clip, site):
        raise UnsupportedBackbone(f"this {type(clip).__name__} encodes images in a way of its own, or has hooks for it")
    return SharedSite(site)
