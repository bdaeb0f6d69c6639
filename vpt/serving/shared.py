"""The one backbone that all tasks share: how it sees a batch, and how a saved task becomes one of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpt.artifacts import Manifest
from vpt.artifacts.binding import check_backbone, check_family
from vpt.artifacts.load import read_task
from vpt.artifacts.save import fingerprint_of_backbone
from vpt.attach import check_free
from vpt.attach.mixture import Mixture
from vpt.data import Preprocessing
from vpt.errors import OptionError, some
from vpt.serving.task import Task
from vpt.sites.site import Site


class SharedBackbone(ABC):
    """A frozen backbone. What it is bound by, its fingerprint, is computed once.

    Raises `OptionError` for a backbone in use by a tuned model, `UnsupportedBackbone` for one that cannot be shared.
    """

    base: Task
    heads: tuple[str, ...] = ()
    """Names of the modules that tasks have their own of."""

    def __init__(self, backbone: nn.Module) -> None:
        check_free(backbone)
        self.backbone = backbone.eval()
        self.fingerprint: dict[str, Any] = fingerprint_of_backbone(backbone)

    @property
    def device(self) -> torch.device:
        """Where the backbone is."""
        return next(self.backbone.parameters()).device

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The floating type of the images that it takes."""

    @abstractmethod
    def check_size(self, height: int, width: int) -> None:
        """Raise `OptionError` for images of another size, in pixels, than it takes."""

    def load(self, folder: Path, name: str, *, force: bool = False) -> Task:
        """The task saved in `folder`. Raises as `vpt.load`; `OptionError` for a method that cannot share a backbone."""
        manifest, state = read_task(folder)
        check_family(self.backbone, manifest, folder)
        check_free(self.backbone)
        own = ("prompts.", *(f"backbone.{name}." for name in self.heads))
        if foreign := [key for key in state if not key.startswith(own)]:
            raise OptionError(
                f"{str(folder)!r} was trained by {manifest.method!r}, which changes the backbone itself "
                f"({some(foreign, 2)}), so that no other task can share it; accepted: methods of prompts, texts and "
                "heads. vpt.load takes it, alone"
            )
        if not force:
            check_backbone(manifest.fingerprint, self.fingerprint, folder)
        return self._task(folder, name, manifest, state, force=force)

    @abstractmethod
    def features(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, ...]:
        """What the tasks' answers read, `[B, F]` each, of images `[B, 3, H, W]`."""

    @abstractmethod
    def looking(self, images: Tensor, mixture: Mixture) -> Tensor | None:
        """Attention of the class token to the patches in the last block, `[B, H', W']`; None where there is none."""

    @abstractmethod
    def _task(self, folder: Path, name: str, manifest: Manifest, state: dict[str, Tensor], *, force: bool) -> Task:
        """A saved task, read and checked, as one of this backbone's."""

    def _preprocessing(self, manifest: Manifest) -> Preprocessing:
        """The one that the task was trained with. Raises `OptionError` where its images are not of the model's size."""
        stored = manifest.preprocessing
        found = Preprocessing.of(self.backbone) if stored is None else Preprocessing.from_dict(stored)
        self.check_size(*found.size)
        return found


def check_size(site: Site, height: int, width: int) -> None:
    """Raise `OptionError` for images that a site does not take: other than its own size, or than whole patches."""
    backbone: Any = site.backbone
    if not getattr(backbone, "dynamic_img_size", False):
        if (height, width) != site.image_size:
            raise wrong_size(height, width, "{} x {}".format(*site.image_size))
    elif not backbone.patch_embed.dynamic_img_pad and (height % site.patch_size[0] or width % site.patch_size[1]):
        raise wrong_size(height, width, "multiples of {} x {}".format(*site.patch_size))


def wrong_size(height: int, width: int, taken: str) -> OptionError:
    """The error for images of a size that a model does not take."""
    return OptionError(f"images are {height} x {width} pixels; this model takes {taken}")


def grid(rows: Tensor | None, site: Site, images: Tensor) -> Tensor | None:
    """Values of patches `[B, N - prefix]` as maps `[B, H', W']`; None where the patches of a site are no such grid."""
    height, width = (pixels // patch for pixels, patch in zip(images.shape[2:], site.patch_size, strict=True))
    return None if rows is None or rows.shape[1] != height * width else rows.unflatten(1, (height, width))


def class_names(manifest: Manifest) -> tuple[str, ...]:
    """The names of a task's classes, numbers where it has none."""
    return tuple(manifest.classes or map(str, range(manifest.num_classes)))
