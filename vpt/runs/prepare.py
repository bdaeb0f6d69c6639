"""The three things every command starts from: the backbone, the images, and how they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vpt.artifacts.save import fingerprint_of_backbone
from vpt.backbones import load_backbone
from vpt.backbones.load import declare_normalisation
from vpt.data import ImageDataset, ImageSet, Preprocessing, Task, load_task
from vpt.methods import Tuned, tune
from vpt.runs.config import BackboneConfig, DataConfig, PreprocessingConfig, RunConfig

INIT_IMAGES = 256
"""Most training images that prompts are initialised from, where a method's `init` asks for them."""


@dataclass
class Prepared:
    """A backbone, a task whose every image has been decoded once, and the preprocessing between them.

    fingerprint: of the backbone as it was loaded, all its tensors but the head.
    """

    backbone: nn.Module
    task: Task
    preprocessing: Preprocessing
    fingerprint: dict[str, Any]

    def dataset(self, images: ImageSet, data: DataConfig, *, augment: str = "none", seed: int = 0) -> ImageDataset:
        """`images` as the backbone takes them, from the cache where nothing is augmented."""
        cache = data.cache if augment == "none" else None
        return ImageDataset(images, self.preprocessing, augment=augment, seed=seed, cache=cache)

    def model(self, config: RunConfig, seed: int) -> Tuned:
        """The method of `config` on the backbone, with a fresh head for the task's classes."""
        method = config.method
        options = {**method.options, "head_init": method.head_init}
        if needs_images(method.name, options):
            options["init_images"] = self._init_images()
        tuned: Tuned = tune(
            self.backbone, method.name, num_classes=len(self.task.classes), path=method.path, seed=seed,
            **options,
        )  # fmt: skip
        return tuned

    def _init_images(self) -> Tensor:
        """Evenly spread training images, float `[n, 3, H, W]`."""
        images = self.task.train
        chosen = torch.linspace(0, len(images) - 1, min(INIT_IMAGES, len(images))).round().long().tolist()
        device = next(self.backbone.parameters()).device
        return torch.stack([self.preprocessing(images.decode(i)) for i in chosen]).to(device)


def prepare(config: RunConfig, *, quiet: bool = False) -> Prepared:
    """Load the backbone and the task of `config`, and decode every image once so that bad ones stop the run here."""
    backbone = prepare_backbone(config.backbone)
    preprocessing = prepare_preprocessing(backbone, config.preprocessing)
    untouched = fingerprint_of_backbone(backbone)
    return Prepared(backbone, prepare_task(config.data, quiet=quiet), preprocessing, untouched)


def prepare_backbone(config: BackboneConfig) -> nn.Module:
    """The backbone of `config`, its declared normalisation corrected where `config` says so.

    What is random in it (everything, with `pretrained: false`) is the same each time.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load_backbone(
            config.name, checkpoint=config.checkpoint, image_size=config.image_size, pretrained=config.pretrained
        )
    declare_normalisation(model, config.mean, config.std)
    return model


def prepare_preprocessing(backbone: nn.Module, config: PreprocessingConfig) -> Preprocessing:
    """What the backbone declares, with the fields that `config` sets."""
    asked: dict[str, Any] = {"interpolation": config.interpolation, "antialias": config.antialias}
    return Preprocessing.of(backbone, **{name: value for name, value in asked.items() if value is not None})


def prepare_task(config: DataConfig, *, quiet: bool = False) -> Task:
    """The task of `config`, verified."""
    from vpt.runs.console import progress

    task = load_task(config.source, config.root, config.name, **config.options)
    with progress("decoding images", quiet=quiet) as report:
        task.verify(report)
    return task


def needs_images(method: str, options: dict[str, Any]) -> bool:
    """Whether the method takes images and these options start its prompts from their patch tokens."""
    from vpt.methods import describe
    from vpt.prompts.init import SELECTIONS

    named = isinstance(options.get("init"), str) and options["init"] in SELECTIONS
    return named and "init_images" in describe(method).options
