"""Adapters: layers that stand in for linear layers of a backbone and hold these, the very same, as `base_layer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from vpt.attach.attachment import Attachment

BASE = "base_layer"
"""The name, peft's, under which an adapter holds the linear layer that it stands in for."""


def attach_adapters(adapters: Mapping[str, nn.Module], attachment: Attachment, backbone: nn.Module) -> None:
    """Put each adapter in the place of the linear layer of that name; every change goes through `attachment`."""
    for name, adapter in adapters.items():
        owner, _, own = name.rpartition(".")
        parent = backbone.get_submodule(owner)
        if own == "qkv" and getattr(parent, "q_bias", None) is not None:
            # EVA and BEiT would read the layer's weight and pass its forward by; timm's own switch makes them call it
            attachment.set(parent, "qkv_bias_separate", True)
        attachment.swap(parent, own, adapter)


def own_tensors(adapters: Iterable[nn.Module]) -> list[Tensor]:
    """What adapters brought: their tensors but those of the layers that they stand in for, and their gradients."""
    named = [pair for adapter in adapters for pair in (*adapter.named_parameters(), *adapter.named_buffers())]
    own = [tensor for name, tensor in named if BASE not in name.split(".")]
    return own + [tensor.grad for tensor in own if tensor.grad is not None]


def original_name(name: str, adapted: Iterable[str]) -> str | None:
    """What the backbone itself calls a tensor of its `state_dict()`; None for a tensor that an adapter brought."""
    layer = next((layer for layer in adapted if name.startswith(f"{layer}.")), None)
    if layer is None:
        return name
    inner = name.removeprefix(f"{layer}.")
    return f"{layer}.{inner.removeprefix(f'{BASE}.')}" if inner.startswith(f"{BASE}.") else None
