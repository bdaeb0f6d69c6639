"""Where the class token looks: the last block's attention, recomputed from what enters it.

Fused attention never forms its weights, and timm's own extractor hooks a module that is then not called. So queries and
keys are computed again from the block's input, with its query and key norms, rotary positions, relative position bias
and mask, for the class token alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.attach.fused import Fused
from vpt.attach.weights import first_weights
from vpt.sites import block as blocks
from vpt.sites.modes import evaluating


@torch.no_grad()
def class_attention(backbone: nn.Module, images: Tensor) -> Tensor | None:
    """Attention of the class token to the patches in the last block, mean over heads: `[B, H', W']`.

    The weights are a softmax over all tokens (prompts and other prefix tokens too), so a map sums to at most 1; prompts
    attached to `backbone` take part. None where there is no class token, no grid of patches, or a last block whose
    parts vpt does not know (see `vpt.sites.block`).
    """
    block = _last_block(backbone)
    if block is None or getattr(backbone, "cls_token", None) is None:
        return None
    seen: list[tuple[Tensor, dict[str, Any]]] = []
    grids: list[tuple[int, int]] = []
    handles = [
        block.register_forward_pre_hook(lambda _, args, kwargs: seen.append((args[0], kwargs)), with_kwargs=True),
        backbone.get_submodule("patch_embed").register_forward_pre_hook(
            lambda embed, args: grids.append(embed.dynamic_feat_size(args[0].shape[-2:]))
        ),
    ]
    try:
        with evaluating(backbone):
            backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    if not seen or not grids or grids[0][0] * grids[0][1] >= seen[0][0].shape[1]:
        return None
    weights = class_weights(block, *seen[0]).mean(1)
    height, width = grids[0]
    patches = weights[:, : seen[0][0].shape[1]][:, -height * width :]
    return patches.reshape(-1, height, width).float()


def class_weights(block: Any, x: Tensor, told: dict[str, Any]) -> Tensor:
    """Weights `[B, heads, N]` of the first token over all, prompts last, for the block's input `x` `[B, N, D]`."""
    reader = block.__dict__.get("forward")
    if not isinstance(reader, Fused):
        _, attention = blocks.anatomy(block).attentions(block)[-1]
        reader = Fused(block, None, 0, getattr(attention, "num_prefix_tokens", 1), 0)
    return first_weights(reader, x, told)


def _last_block(backbone: Any) -> Any | None:
    found = getattr(backbone, "blocks", None)
    block = found[-1] if isinstance(found, nn.Sequential | nn.ModuleList) and found else None
    known = block is not None and blocks.fault(block) is None
    return block if known and hasattr(getattr(backbone, "patch_embed", None), "dynamic_feat_size") else None


def heat(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `[B, H', W']` as pictures `[B, 1, H, W]`, each stretched to its own range [0, 1]."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    stretched = (maps - low) / (high - low).clamp_min(1e-12)
    return F.interpolate(stretched.unsqueeze(1), size=size, mode="nearest")
