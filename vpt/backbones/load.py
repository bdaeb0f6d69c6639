"""`load_backbone`: any timm or open_clip model, or one of the two embedded ones, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from torch import nn

from vpt.backbones.checkpoint import load_checkpoint
from vpt.backbones.clip import load_clip
from vpt.backbones.clip_names import check_clip_name, clip_names, is_clip
from vpt.backbones.embedded import NAME, embedded
from vpt.backbones.hub import create_pretrained
from vpt.errors import OptionError, nearest
from vpt.methods.method import Family
from vpt.sites.clip_text import is_open_clip
from vpt.sites.find import MODULES


def names(*, pretrained: bool = False) -> list[str]:
    """Backbones that take prompts: the embedded ones first, then timm's, then open_clip's where that is installed.

    `pretrained` lists `name.tag` with published weights.
    """
    timms = [n for m in MODULES for n in timm.list_models(module=m, pretrained=pretrained)]
    clips = clip_names(pretrained=pretrained)
    return [NAME, *clips[:1], *timms, *clips[1:]]


def family_of(name: str) -> Family:
    """Whose models a name is one of, and so which methods it takes; the name need not exist."""
    return "open_clip" if is_clip(name) else "timm"


def check_name(name: str) -> None:
    """Raises `OptionError`, with the nearest name, where no backbone is called `name`."""
    if is_clip(name):
        return check_clip_name(name)
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
    """A stock timm or open_clip model by name, in eval mode.

    name: `embedded`, or any name timm knows; `embedded-clip`, or `open_clip/` and what `vpt.backbones.clip_names` says.
    checkpoint: a weights file on this machine, instead of the published weights.
    num_classes: of a timm model, classes of its head; 0 for none. `vpt.tune` puts in a head where classes differ.
    image_size: height and width in pixels, where not the model's own; position embeddings are resampled.
    pretrained: False for random weights.
    Raises `OptionError` (unknown name, weights of another model) or `WeightsUnavailable`.
    """
    check_name(name)
    if is_clip(name):
        if num_classes:
            raise OptionError(f"num_classes is {num_classes}; {name} has no head, its classes are names")
        return load_clip(name, checkpoint=checkpoint, image_size=image_size, pretrained=pretrained)
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
    """Set entries of the model's own configuration, under both names timm or open_clip has for it."""
    if is_open_clip(model):
        visual: Any = model.visual
        visual.preprocess_cfg = {**(getattr(visual, "preprocess_cfg", None) or {}), **facts}
        for name, fact in facts.items():
            setattr(visual, f"image_{name}", fact)
        return
    model.pretrained_cfg = {**(getattr(model, "pretrained_cfg", None) or {}), **facts}  # type: ignore[assignment]
    model.default_cfg = model.pretrained_cfg
