"""Prompts in the last blocks, without augmentation: the first epoch, which fills the cache, and the later ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import vpt
from benchmarks.speed.models import CLASSES, backbone, pixels
from benchmarks.speed.plan import Case
from vpt.data import ImageSet
from vpt.training.devices import accelerator_for

UNCACHED_EPOCHS = 2


def epochs(case: Case, done: int) -> Iterator[dict[str, Any]]:
    """The one row of a `cache` case: seconds of each epoch as `vpt.fit` tells them, and of the whole call.

    `uncached` are epochs of a run that may not keep anything. Nothing is compiled: it would count as the first epoch.
    """
    images = _images(case)
    accelerator_for(case.precision)  # imported and set up before the clock starts
    started = time.perf_counter()
    seconds = _fit(case, images, epochs=case.options["epochs"])
    total = time.perf_counter() - started
    yield {"epochs": seconds, "total": total, "uncached": _fit(case, images, epochs=UNCACHED_EPOCHS, frozen_cache_gb=0)}


def _images(case: Case) -> ImageSet:
    drawn, size = np.random.default_rng(case.seed), pixels(case.backbone)
    pictures = drawn.integers(256, size=(case.options["images"], size, size, 3), dtype=np.uint8)
    return ImageSet.from_arrays(pictures, np.arange(len(pictures)) % CLASSES)


def _fit(case: Case, images: ImageSet, **changes: Any) -> list[float]:
    """Seconds of every epoch of a run on `images`, on the device that `vpt.fit` chooses."""
    where = {name: case.options[name] for name in ("length", "layers")}
    model = vpt.tune(backbone(case.backbone, case.device, len(images.classes)), "deep", **where)
    data = vpt.ImageDataset(images, vpt.Preprocessing.of(model))
    how: dict[str, Any] = {"batch_size": case.batch, "precision": case.precision, "seed": case.seed}
    config = vpt.FitConfig(tensorboard=False, **how, **changes)
    return [row["seconds"] for row in vpt.fit(model, data, config=config, quiet=True).history]
