"""What enters the blocks of a backbone: the training images' own patch tokens, for Self-Prompt initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vpt.sites.modes import evaluating
from vpt.sites.site import Site


@torch.no_grad()
def patch_tokens(site: Site, images: Tensor, layers: Sequence[int], batch_size: int = 64) -> list[Tensor]:
    """The patch tokens `[n, N - prefix, D]` that enter each block of `layers`, for images `[n, 3, H, W]`.

    The backbone runs as it is, in eval mode, and is left as it was.
    """
    seen: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    handles = []

    def watch(layer: int) -> Any:
        def hook(block: nn.Module, args: tuple[Any, ...]) -> None:
            seen[layer].append(args[0][:, site.prefix :].float().cpu())

        return hook

    try:
        handles = [site.blocks[layer].register_forward_pre_hook(watch(layer)) for layer in layers]
        parameter = next(site.backbone.parameters())
        with evaluating(site.backbone):
            for batch in images.split(batch_size):
                site.backbone(batch.to(parameter.device, parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(seen[layer]) for layer in layers]
