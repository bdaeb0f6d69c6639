"""A timm model that tasks share: prompts of each, and a head of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpt.artifacts import Manifest
from vpt.artifacts.load import cast_like, check_sizes
from vpt.artifacts.room import Room
from vpt.attach.mixed import SharedSite
from vpt.attach.mixture import Mixture
from vpt.data import Preprocessing
from vpt.errors import ArtifactError
from vpt.methods.method import Learned, build
from vpt.serving.shared import SharedBackbone, check_size, class_names, grid
from vpt.serving.task import Heads, Task
from vpt.sites import find

STARTS = ("init", "init_images", "seed", "head_init")
"""Options that say how a task once started."""


class SharedViT(SharedBackbone):
    """Tasks on a timm model: any kind of prompts, and heads; none that changed the backbone itself."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__(backbone)
        self._shared = SharedSite(find(backbone))
        self._site = self._shared.site
        self.heads = self._site.heads
        own = [backbone.get_submodule(name) for name in self.heads]
        classes = tuple(map(str, range(self._site.num_classes)))
        self.base = Task(None, classes, Preprocessing.of(backbone), Heads(own, own=False))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the images that it takes."""
        return self._site.dtype

    def check_size(self, height: int, width: int) -> None:
        """Raise `OptionError` for images of another size, in pixels, than it takes."""
        check_size(self._site, height, width)

    def features(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, ...]:
        """What each of the heads reads, `[B, F]`, of images `[B, 3, H, W]`."""
        return self._shared.features(images, mixture)

    def looking(self, images: Tensor, mixture: Mixture) -> Tensor | None:
        """Attention of the class token to the patches in the last block, `[B, H', W']`; None where there is none."""
        return grid(self._shared.looking(images, mixture), self._site, images)

    def _task(self, folder: Path, name: str, manifest: Manifest, state: dict[str, Tensor], *, force: bool) -> Task:
        learned = self._learned(folder, manifest)
        if learned.prompts is not None:
            master = torch.promote_types(self.dtype, torch.float32)
            _fill(learned.prompts.to(self.device, master), state, "prompts.", folder)
        entering = self._shared.entering(learned.prompts, learned.pool)
        answer = self._heads(learned, manifest, state, folder)
        names = class_names(manifest) or self.base.classes
        return Task(name, names, self._preprocessing(manifest), answer, entering, manifest, folder)

    def _learned(self, folder: Path, manifest: Manifest) -> Learned:
        options = {key: value for key, value in manifest.options.items() if key not in STARTS}
        check_sizes(manifest, folder)
        try:
            with Room(manifest):
                return build(manifest.method, self._site, 0, options)[0]
        except Exception as error:  # options from a file can be anything, and fail anywhere
            raise ArtifactError(f"{folder}: method {manifest.method!r} cannot be rebuilt: {error}") from error

    def _heads(self, learned: Learned, manifest: Manifest, state: Mapping[str, Tensor], folder: Path) -> Heads:
        """The saved heads; the backbone's own where none was saved."""
        if not any(key.startswith("backbone.") for key in state):
            return self.base.answer  # type: ignore[return-value]
        found = []
        for name in self.heads:
            with torch.device("meta"):  # its values come from the file
                head = learned.head(self._site.features, manifest.num_classes)
            head = head.to_empty(device=self.device).to(self.dtype)
            found.append(_fill(head, state, f"backbone.{name}.", folder))
        return Heads(found).requires_grad_(False).eval()


def _fill(module: nn.Module, state: Mapping[str, Tensor], prefix: str, folder: Path) -> nn.Module:
    """`module` with the saved values under `prefix`."""
    own: dict[str, Any] = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(cast_like(module.state_dict(), own, folder))
    except RuntimeError as error:
        raise ArtifactError(f"{folder}: the saved tensors do not fit: {' '.join(str(error).split())}") from error
    return module
