"""`load_backbone`: any timm model, or the embedded one, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from torch import nn

from vpt.backbones.checkpoint import load_checkpoint
from vpt.backbones.embedded import NAME, embedded
from vpt.backbones.hub import create_pretrained
from vpt.errors import OptionError, nearest
from vpt.sites.find import MODULES


def names(*, pretrained: bool = False) -> list[str]:
    """Backbones that take prompts: the embedded one first, then timm's; `pretrained` lists `name.tag` with weights."""
    return [NAME, *(n for m in MODULES for n in timm.list_models(module=m, pretrained=pretrained))]


def check_name(name: str) -> None:
    """Raises `OptionError`, with the nearest name, where no backbone is called `name`."""
    if name == NAME or (timm.is_model(name) and _has_tag(name)):
        return
    known = timm.list_pretrained(f"{name.split('.')[0]}.*") if timm.is_model(name) else [*names(), *timm.list_models()]
    raise OptionError(f"unknown backbone {name!r}{nearest(name, known)}; `vpt backbones` lists those that take prompts")


def _has_tag(name: str) -> bool:
    """Whether the `.tag` of a timm name, if there is one, is one of that model's."""
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return True


def load_backbone(
    name: str,
    *,
    checkpoint: Path | None = None,
    num_classes: int = 0,
    image_size: int | None = None,
    pretrained: bool = True,
) -> nn.Module:
    """A stock timm model by name (`embedded`, or any name timm knows), in eval mode.

    checkpoint: a weights file on this machine, instead of the published weights.
    num_classes: classes of its head; 0 for none. `vpt.tune` puts in a head of its own where classes differ.
    image_size: height and width in pixels, where not the model's own; position embeddings are resampled by timm.
    pretrained: False for random weights.
    Raises `OptionError` (unknown name, weights of another model) or `WeightsUnavailable`.
    """
    check_name(name)
    if name == NAME:
        model: nn.Module = embedded(num_classes, image_size, checkpoint=checkpoint, pretrained=pretrained)
    else:
        model = _timm_model(name, checkpoint, num_classes, image_size, pretrained)
    return model.eval()


def _timm_model(
    name: str, checkpoint: Path | None, num_classes: int, image_size: int | None, pretrained: bool
) -> nn.Module:
    size: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    try:
        if pretrained and checkpoint is None:
            model = create_pretrained(name, num_classes=num_classes, **size)
        else:
            model = timm.create_model(name, pretrained=False, num_classes=num_classes, **size)
    except (TypeError, AssertionError, ValueError) as error:
        if image_size is None:
            raise
        raise OptionError(
            f"{name} cannot be built for images of {image_size} × {image_size} pixels: {error}"
        ) from error
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    if image_size is not None:
        _declare(model, input_size=(3, image_size, image_size))
    return model


def declare_normalisation(model: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Correct what a model says of its own input: channel means and deviations of images in [0, 1]."""
    if mean is not None:
        _declare(model, mean=tuple(mean))
    if std is not None:
        _declare(model, std=tuple(std))


def _declare(model: nn.Module, **facts: object) -> None:
    """Set entries of the model's own configuration, under both names timm has for it."""
    model.pretrained_cfg = {**(getattr(model, "pretrained_cfg", None) or {}), **facts}  # type: ignore[assignment]
    model.default_cfg = model.pretrained_cfg
