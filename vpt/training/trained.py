"""What training changes in a model, and what a checkpoint must find again to go on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpt.errors import TrainingError
from vpt.methods import TunedClip
from vpt.sites.fingerprint import digest_tensors
from vpt.training.batches import Labelled
from vpt.training.config import FitConfig


def trainable(model: Any) -> dict[str, nn.Parameter]:
    """A module's trained parameters by name: what `model.trainable()` declares, else what requires a gradient."""
    if hasattr(model, "trainable"):
        return dict(model.trainable())
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def trained_state(model: Any) -> dict[str, Tensor]:
    """All tensors that training may change: `model.trained_state()`, else trained parameters and every saved buffer."""
    if hasattr(model, "trained_state"):
        return dict(model.trained_state())
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def load_trained_state(model: Any, state: Mapping[str, Tensor]) -> None:
    """Take over a `trained_state`; raises where names or shapes differ."""
    if hasattr(model, "load_trained_state"):
        model.load_trained_state(state)
        return
    own = trained_state(model)
    if wrong := sorted(own.keys() ^ state.keys()):
        raise TrainingError(f"these tensors are in only one of checkpoint and model: {', '.join(wrong)}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def identity(model: nn.Module, train: Labelled, val: Labelled | None, config: FitConfig) -> dict[str, Any]:
    """What a run is, JSON-able: recipe, model and data. Runs with equal identities may resume each other.

    To be taken before the first step: tensors count by SHA-256, the trained ones by their values at the start. Reads
    every image once where the data has a digest (`images.digest()`).
    """
    learned = trained_state(model)
    frozen = {name: tensor for name, tensor in model.state_dict().items() if name not in learned}
    return {
        "config": config.recipe(),
        "model": {
            "class": type(model).__name__,
            "method": getattr(model, "method", None),
            "options": _plain(getattr(model, "options", {})),
            "trained": {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in learned.items()},
            "start": digest_tensors(learned),
            "frozen": digest_tensors(frozen),
            "tokens": digest_tensors(model.tokens()) if isinstance(model, TunedClip) else None,
        },
        "data": {"train": _data(train), "val": None if val is None else _data(val)},
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line per leaf in which two identities differ: `config.lr: 0.1 in the checkpoint, 0.2 now`."""
    lines = []
    for key in sorted(saved.keys() | now.keys()):
        before, after = saved.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} in the checkpoint, {after!r} now")
    return lines


def _data(dataset: Labelled) -> dict[str, Any]:
    images: Any = getattr(dataset, "images", None)
    facts: dict[str, Any] = {"images": len(dataset)}
    if (labels := getattr(images, "labels", None)) is not None:
        facts["labels"] = hashlib.sha256(np.asarray(labels, np.int64).tobytes()).hexdigest()
        facts["classes"] = list(getattr(images, "classes", ()))
    if hasattr(images, "digest"):
        facts["content"] = images.digest()
    preprocessing: Any = getattr(dataset, "preprocessing", None)
    if hasattr(preprocessing, "to_dict"):
        facts["preprocessing"] = _plain(preprocessing.to_dict())
    if hasattr(dataset, "augment"):
        preset = getattr(dataset.augment, "preset", dataset.augment)
        facts["augment"] = _plain({"preset": preset, "seed": getattr(dataset, "seed", 0)})
    return facts


def _plain(value: Any) -> Any:
    """As JSON would give it back; an array by its content, anything else foreign by its type."""

    def other(foreign: Any) -> str:
        if isinstance(foreign, Tensor | np.ndarray):
            return digest_tensors({"": torch.as_tensor(foreign)})
        return type(foreign).__name__

    return json.loads(json.dumps(value, default=other, sort_keys=True))
