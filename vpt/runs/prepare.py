"""What every command starts from: the backbone, the images, how they meet, and the words of an open_clip model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from vpt.artifacts.save import fingerprint_of_backbone
from vpt.backbones import Tokenizer, family_of, load_backbone, load_tokenizer
from vpt.backbones.load import declare_normalisation
from vpt.data import ImageDataset, ImageSet, Preprocessing, Task, load_task
from vpt.data.for_methods import image_options, starts_from_images
from vpt.methods import Method, Tuned, TunedClip, describe, tune
from vpt.runs.config import BackboneConfig, DataConfig, PreprocessingConfig, RunConfig


@dataclass
class Prepared:
    """A backbone, a task whose every image has been decoded once, and the preprocessing between them.

    fingerprint: of the backbone as it was loaded, all its tensors but the head.
    tokenizer: of an open_clip model; None is CLIP's own.
    """

    backbone: nn.Module
    task: Task
    preprocessing: Preprocessing
    fingerprint: dict[str, Any]
    tokenizer: Tokenizer | None = None

    def dataset(self, images: ImageSet, data: DataConfig, *, augment: str = "none", seed: int = 0) -> ImageDataset:
        """`images` as the backbone takes them, from the cache where nothing is augmented."""
        cache = data.cache if augment == "none" else None
        return ImageDataset(images, self.preprocessing, augment=augment, seed=seed, cache=cache)

    def of_seed(self, config: RunConfig, seed: int, *, quiet: bool = False) -> Prepared:
        """The same for another seed of `config` than its first, which may draw other images."""
        data = config.data.drawn(seed)
        same = data == config.data.drawn(config.seeds[0])
        return self if same else replace(self, task=prepare_task(data, quiet=quiet))

    def model(self, config: RunConfig, seed: int) -> Tuned | TunedClip:
        """The method of `config` on the backbone, for the task's classes: by a fresh head, or by their names."""
        method, classes = config.method, list(self.task.classes)
        chosen = method_of(config)
        kept = self.task.trainval if config.data.fit_on == "trainval" else self.task.train
        shown = image_options(
            chosen, method.options, self.backbone, self.preprocessing, train=self.task.train, kept=kept
        )
        options = {**method.options, **shown}
        if chosen.family == "open_clip":
            return tune(
                self.backbone, method.name, classnames=classes, tokenizer=self.tokenizer, path=method.path, seed=seed,
                **options,
            )  # fmt: skip
        found: Tuned | TunedClip = tune(
            self.backbone, method.name, num_classes=len(classes), path=method.path, seed=seed,
            head_init=method.head_init, **options,
        )  # fmt: skip
        return found


def prepare(config: RunConfig, *, quiet: bool = False) -> Prepared:
    """Load the backbone and the task of `config`, and decode every image once so that bad ones stop the run here.

    Of few shots those of the first seed.
    """
    backbone = prepare_backbone(config.backbone)
    preprocessing = prepare_preprocessing(backbone, config.preprocessing)
    untouched = fingerprint_of_backbone(backbone)
    tokenizer = prepare_tokenizer(config.backbone)
    task = prepare_task(config.data.drawn(config.seeds[0]), quiet=quiet)
    return Prepared(backbone, task, preprocessing, untouched, tokenizer)


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


def prepare_tokenizer(config: BackboneConfig) -> Tokenizer | None:
    """The tokenizer of an open_clip model; None for a timm model, which reads no words."""
    return load_tokenizer(config.name, config.tokenizer) if family_of(config.name) == "open_clip" else None


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


def method_of(config: RunConfig) -> Method:
    """The method of `config`, of its backbone's family. Raises `OptionError` where that has none of this name."""
    return describe(config.method.name, family_of(config.backbone.name))


def needs_images(config: RunConfig) -> bool:
    """Whether the method takes images and its options start prompts from their patch tokens."""
    return starts_from_images(method_of(config), config.method.options)
