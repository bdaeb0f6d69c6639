"""Optimisers, and which learned tensors decay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from vpt.errors import TrainingError
from vpt.training.config import FitConfig


def kind(name: str, model: nn.Module) -> str:
    """What the parameter `name` of `model` is: "prompts", "norm", "bias" or "weight".

    A normalisation layer's own bias is "norm"; so is any other vector that scales channels (timm's layer scale).
    """
    owner, _, leaf = name.rpartition(".")
    if name.split(".")[0] == "prompts":
        return "prompts"
    if "norm" in type(model.get_submodule(owner)).__name__.lower():
        return "norm"
    if "bias" in leaf:
        return "bias"
    scales = model.get_parameter(name).ndim <= 1 or ".ia3_l." in name  # peft keeps that vector as a matrix
    return "norm" if scales else "weight"


def parameter_groups(
    model: nn.Module, trained: Mapping[str, nn.Parameter], weight_decay: float, decay: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Two groups for an optimiser: weights and the kinds named in `decay` decay, everything else does not."""
    decaying = {name for name in trained if (what := kind(name, model)) == "weight" or what in decay}
    groups = [
        {"params": [p for n, p in trained.items() if n in decaying], "weight_decay": weight_decay},
        {"params": [p for n, p in trained.items() if n not in decaying], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, trained: Mapping[str, nn.Parameter], config: FitConfig) -> Optimizer:
    """The optimiser of `config` over `trained`; raises `TrainingError` if nothing is trained."""
    if not trained:
        raise TrainingError("nothing to train: no parameter of the model requires a gradient")
    groups = parameter_groups(model, trained, config.weight_decay, config.decay)
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.base_lr, momentum=config.momentum)
    return AdamW(groups, lr=config.base_lr)
