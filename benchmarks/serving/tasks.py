"""Saved tasks to serve: random prompts and heads on one backbone, made once into the folder of the results."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import vpt
from benchmarks.serving.settings import Settings
from benchmarks.speed import models
from benchmarks.speed.settings import BACKBONES
from vpt.artifacts import is_artifact

NOISE = 0.3
"""Standard deviation of what is added to every learned tensor, so that no two tasks answer alike."""


def backbone(settings: Settings) -> nn.Module:
    """The backbone of all tasks, in eval."""
    if settings.backbone in BACKBONES:
        return models.backbone(settings.backbone, "cpu").eval()
    return vpt.load_backbone(settings.backbone, checkpoint=settings.checkpoint)


def images(model: nn.Module, count: int) -> Tensor:
    """Random images `[count, 3, H, W]`, as the model takes them."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, *vpt.Preprocessing.of(model).size, generator=generator)


def deep(settings: Settings, folder: Path, model: nn.Module, count: int) -> list[Path]:
    """Tasks with prompts of one length in every block."""
    return [saved(model, settings, folder / "tasks" / f"deep-{i}", i) for i in range(count)]


def uneven(settings: Settings, folder: Path, model: nn.Module, count: int) -> list[Path]:
    """Tasks with prompts in every block, of lengths around the one asked for, which is their mean."""
    half = settings.length // 2
    lengths = [settings.length - half + i % (2 * half + 1) for i in range(count)]
    return [
        saved(model, settings, folder / "tasks" / f"uneven-{i}", i, length=length) for i, length in enumerate(lengths)
    ]


def halves(settings: Settings, folder: Path, model: nn.Module, count: int) -> list[Path]:
    """Tasks every other of which has prompts in the first block alone."""
    alone = [saved(model, settings, folder / "tasks" / f"shallow-{i}", i, "shallow") for i in range(1, count, 2)]
    return [*deep(settings, folder, model, count)[::2], *alone]


def saved(
    model: nn.Module, settings: Settings, place: Path, seed: int, method: str = "deep", length: int | None = None
) -> Path:
    """A task in `place`, unless it is there; nothing is left on the model."""
    if is_artifact(place):
        return place
    length = settings.length if length is None else length
    tuned = vpt.tune(model, method, num_classes=settings.classes, length=length, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for tensor in tuned.trainable().values():
                tensor.add_(NOISE * torch.randn(tensor.shape, generator=generator))
        return vpt.save(tuned, place)
    finally:
        tuned.detach()
