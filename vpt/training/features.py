"""What the classifier reads, and how long prompts have become: what is worth looking at in a tuned model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.sites.modes import evaluating
from vpt.training.trained import trainable


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """What the head of a timm model reads, `[B, D]`, for images `[B, 3, H, W]`; its output where it has none."""
    seen: list[Tensor] = []
    head = _head(model)
    handle = head.register_forward_pre_hook(lambda _, args: seen.append(args[0])) if head is not None else None
    try:
        with evaluating(model):
            output: Tensor = model(images)
    finally:
        if handle is not None:
            handle.remove()
    return (seen[0] if seen else output).flatten(1).float()


def prompt_norms(model: nn.Module) -> dict[str, float]:
    """The mean length of the prompt vectors, per layer where a tensor is `[L, P, D]`: `{"tokens/layer03": 1.2}`."""
    norms: dict[str, float] = {}
    layers = getattr(getattr(model, "prompts", None), "layers", ())
    for name, parameter in trainable(model).items():
        if not name.startswith("prompts."):
            continue
        short, tensor = name.removeprefix("prompts."), parameter.detach().float()
        if tensor.ndim == 3 and len(layers) == len(tensor):
            for layer, prompts in zip(layers, tensor, strict=True):
                norms[f"{short}/layer{layer:02d}"] = float(prompts.norm(dim=-1).mean())
        else:
            norms[short] = float(tensor.norm(dim=-1).mean())
    return norms


def _head(model: nn.Module) -> nn.Module | None:
    backbone: Any = getattr(model, "backbone", model)
    if not hasattr(backbone, "get_classifier"):
        return None
    head = backbone.get_classifier()
    head = head[0] if isinstance(head, tuple | list | nn.ModuleList) else head  # distilled models have two
    return head if isinstance(head, nn.Module) else None
