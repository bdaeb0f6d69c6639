"""From a finished run, an artefact, or class names alone, to a model: what `evaluate` and `predict` start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vpt.artifacts import Manifest, find_artifact, load, read
from vpt.backbones import family_of
from vpt.data import Preprocessing
from vpt.errors import OptionError
from vpt.methods import Tuned, TunedClip, tune
from vpt.runs.config import BackboneConfig, RunConfig
from vpt.runs.prepare import prepare_backbone, prepare_tokenizer
from vpt.runs.reading import from_dict


@dataclass
class Ready:
    """A model of named classes, and how images are made ready for it."""

    model: Tuned | TunedClip
    preprocessing: Preprocessing
    classes: list[str]


@dataclass
class Restored(Ready):
    """A saved task on its backbone, ready to use; `config` is what it was trained with, as far as it says."""

    config: RunConfig
    manifest: Manifest
    folder: Path


def restore(
    folder: Path,
    *,
    backbone: str | None = None,
    checkpoint: Path | None = None,
    tokenizer: Path | None = None,
    force: bool = False,
    classnames: Sequence[str] | None = None,
) -> Restored:
    """The saved task in a run's folder, or in an artefact's, on the backbone that it names.

    backbone, checkpoint, tokenizer: where the artefact does not name its backbone, or the files lie elsewhere now.
    classnames: other classes for what an open_clip model learned. Raises `OptionError` where it belongs to its own.
    """
    folder = find_artifact(folder)
    manifest = read(folder)
    config = _config(manifest)
    if backbone is None and not manifest.part("backbone"):
        raise OptionError(f"{folder} does not say which backbone it is for; name it: --backbone NAME")
    given: dict[str, Any] = {"name": backbone, "checkpoint": checkpoint, "tokenizer": tokenizer}
    chosen = replace(config.backbone, **{field: value for field, value in given.items() if value is not None})
    config = replace(config, backbone=chosen)
    if classnames is not None and manifest.tokenizer is None:
        raise OptionError(f"{folder} is of a timm model, whose classes are its head's; it takes no other names")
    words = None if manifest.tokenizer is None else prepare_tokenizer(chosen)
    model = load(prepare_backbone(chosen), folder, tokenizer=words, force=force)
    if not model.num_classes:
        raise OptionError(f"{folder} has no head, and neither has its backbone; vpt.load gives its features in Python")
    names = manifest.classes or [str(c) for c in range(model.num_classes)]
    if classnames is not None and isinstance(model, TunedClip):
        names = list(model.rebind(classnames).classnames)
    _place(model)
    return Restored(model, _preprocessing(manifest, model), names, config, manifest, folder)


def zero_shot(
    classnames: Sequence[str],
    *,
    backbone: str,
    checkpoint: Path | None = None,
    tokenizer: Path | None = None,
    templates: Sequence[str] | None = None,
) -> Ready:
    """An open_clip model as it is, for classes that are named: no task is needed.

    templates: sentences with {} for the name; by default those of the method `zero_shot`.
    """
    if family_of(backbone) == "timm":
        raise OptionError(f"backbone {backbone!r} knows no names; accepted: embedded-clip, or a name after open_clip/")
    config = BackboneConfig(backbone, checkpoint, tokenizer=tokenizer)
    options: dict[str, Any] = {} if templates is None else {"templates": list(templates)}
    clip, words = prepare_backbone(config), prepare_tokenizer(config)
    model = tune(clip, "zero_shot", classnames=list(classnames), tokenizer=words, **options)
    _place(model.eval())
    return Ready(model, Preprocessing.of(model), list(model.classnames))


def _place(model: Tuned | TunedClip) -> None:
    model.to("cuda" if torch.cuda.is_available() else "cpu")


def _config(manifest: Manifest) -> RunConfig:
    """The parts of a run's configuration that its artefact carries."""
    parts = {"backbone": "backbone", "data": "data_config", "train": "train"}
    known: dict[str, Any] = {name: manifest.part(key) for name, key in parts.items()}
    return from_dict(known)


def _preprocessing(manifest: Manifest, model: Tuned | TunedClip) -> Preprocessing:
    stored = manifest.preprocessing
    return Preprocessing.of(model) if stored is None else Preprocessing.from_dict(stored)
