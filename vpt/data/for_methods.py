"""Training images among a method's options: for starts from images, and for methods that keep them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpt.data.imageset import ImageSet
from vpt.data.pixels import Preprocessing
from vpt.methods.clip.at_start import IMAGES_AT_ONCE, image_features
from vpt.methods.method import Method
from vpt.prompts.init import SELECTIONS

INIT_IMAGES = 256
"""Most training images that prompts are initialised from, where a method's `init` asks for them."""


def starts_from_images(method: Method, options: Mapping[str, Any]) -> bool:
    """Whether the method takes images and `options` start prompts from their patch tokens."""
    init = options.get("init")
    return isinstance(init, str) and init in SELECTIONS and "init_images" in method.options


def image_options(
    method: Method, options: Mapping[str, Any], backbone: nn.Module, preprocessing: Preprocessing, *,
    train: ImageSet, kept: ImageSet,
) -> dict[str, Any]:  # fmt: skip
    """What `method` takes besides `options`: some images of `train` to start from, features `[n, F]` of all `kept`."""
    if starts_from_images(method, options):
        chosen = torch.linspace(0, len(train) - 1, min(INIT_IMAGES, len(train)))
        return {"init_images": _inputs(train, chosen.round().long().tolist(), backbone, preprocessing)}
    if "support_images" in method.options:
        return {"support_images": _features(kept, backbone, preprocessing), "support_labels": torch.tensor(kept.labels)}
    return {}


def _features(images: ImageSet, backbone: nn.Module, preprocessing: Preprocessing) -> Tensor:
    """What an open_clip model makes of images, `[n, F]`: these fit into memory where the images might not."""
    parts = (part.tolist() for part in torch.arange(len(images)).split(IMAGES_AT_ONCE))
    return torch.cat([image_features(backbone, _inputs(images, part, backbone, preprocessing)) for part in parts])


def _inputs(images: ImageSet, rows: Iterable[int], backbone: nn.Module, preprocessing: Preprocessing) -> Tensor:
    """Some of the images as the backbone takes them, float `[n, 3, H, W]`."""
    device = next(backbone.parameters()).device
    return torch.stack([preprocessing(images.decode(i)) for i in rows]).to(device)
