"""From a finished run, or an artefact, back to a model: what `evaluate` and `predict` start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vpt.artifacts import Manifest, load, read
from vpt.data import Preprocessing
from vpt.errors import OptionError
from vpt.methods import Tuned
from vpt.runs.config import RunConfig
from vpt.runs.prepare import prepare_backbone
from vpt.runs.reading import from_dict
from vpt.runs.record import find_artifact


@dataclass
class Restored:
    """A saved task on its backbone, ready to use; `config` is what it was trained with, as far as it says."""

    model: Tuned
    preprocessing: Preprocessing
    classes: list[str]
    config: RunConfig
    manifest: Manifest
    folder: Path


def restore(
    folder: Path, *, backbone: str | None = None, checkpoint: Path | None = None, force: bool = False
) -> Restored:
    """The saved task in a run's folder, or in an artefact's, on the backbone that it names.

    backbone, checkpoint: where the artefact does not name its backbone, or the weights lie elsewhere now.
    """
    folder = find_artifact(folder)
    manifest = read(folder)
    config = _config(manifest)
    if backbone is None and not manifest.part("backbone"):
        raise OptionError(f"{folder} does not say which backbone it is for; name it: --backbone NAME")
    if backbone is not None:
        config = replace(config, backbone=replace(config.backbone, name=backbone))
    if checkpoint is not None:
        config = replace(config, backbone=replace(config.backbone, checkpoint=checkpoint))
    model = load(prepare_backbone(config.backbone), folder, force=force)
    if not isinstance(model, Tuned):
        raise OptionError(f"{folder} is of an open_clip model, for which there is vpt.load; accepted: of a timm model")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    names = manifest.classes or [str(c) for c in range(manifest.num_classes)]
    return Restored(model, _preprocessing(manifest, model), names, config, manifest, folder)


def _config(manifest: Manifest) -> RunConfig:
    """The parts of a run's configuration that its artefact carries."""
    parts = {"backbone": "backbone", "data": "data_config", "train": "train"}
    known: dict[str, Any] = {name: manifest.part(key) for name, key in parts.items()}
    return from_dict(known)


def _preprocessing(manifest: Manifest, model: Tuned) -> Preprocessing:
    stored = manifest.preprocessing
    return Preprocessing.of(model) if stored is None else Preprocessing.from_dict(stored)
