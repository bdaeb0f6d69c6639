"""Where the class token looks: the last block's attention, recomputed from what enters it.

Fused attention never forms its weights, and timm's own extractor hooks a module that is then not called. So queries and
keys are computed again from the attention's input, with its query and key norms, rotary positions, relative position
bias and mask, for the class token alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.beit import Attention as BeitAttention
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from vpt.training.modes import evaluating

KNOWN = (Attention, AttentionRope, EvaAttention, BeitAttention)


@torch.no_grad()
def class_attention(backbone: nn.Module, images: Tensor) -> Tensor | None:
    """Attention of the class token to the patches in the last block, mean over heads: `[B, H', W']`.

    The weights are a softmax over all tokens (prompts and other prefix tokens too), so a map sums to at most 1; hooks
    on `backbone` (prompts) take part. None where there is no class token, no grid of patches, or an attention of
    another kind than timm's `Attention`, `AttentionRope`, `EvaAttention` and BEiT's.
    """
    attention = _last_attention(backbone)
    if attention is None or getattr(backbone, "cls_token", None) is None:
        return None
    seen: list[tuple[Tensor, dict[str, Any]]] = []
    grids: list[tuple[int, int]] = []
    handles = [
        attention.register_forward_pre_hook(lambda _, args, kwargs: seen.append((args[0], kwargs)), with_kwargs=True),
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
    weights = class_weights(attention, *seen[0]).mean(1)
    height, width = grids[0]
    return weights[:, -height * width :].reshape(-1, height, width).float()


def class_weights(attention: Any, x: Tensor, told: dict[str, Any]) -> Tensor:
    """Weights `[B, heads, N]` of the first token over all, for the attention's input `x` `[B, N, D]` and keywords."""
    q, k = queries_and_keys(attention, x)
    if (rope := told.get("rope")) is not None:
        q, k = rotate(q, rope, attention), rotate(k, rope, attention)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # grouped queries share keys
    scores = (q[:, :, :1] * attention.scale) @ k.transpose(-2, -1)
    if getattr(attention, "relative_position_bias_table", None) is not None:
        scores = scores + attention._get_rel_pos_bias()[:, :, :1]
    if (bias := told.get("shared_rel_pos_bias")) is not None:
        scores = scores + bias[:, :, :1]
    return _masked(scores, told).softmax(-1)[:, :, 0]


def queries_and_keys(attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Queries `[B, heads, N, d]` and keys, with biases and norms, before any rotation."""
    if attention.qkv is None:  # projections apart
        q, k = attention.q_proj(x), attention.k_proj(x)
    else:
        qkv = attention.qkv(x)
        if getattr(attention, "q_bias", None) is not None:  # EVA and BEiT keep biases beside the projection
            qkv = qkv + torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        q, k, _ = qkv.chunk(3, dim=-1)
    heads = attention.num_heads
    kv_heads = getattr(attention, "num_kv_heads", heads)
    q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
    k = k.unflatten(-1, (kv_heads, -1)).transpose(1, 2)
    none = nn.Identity()
    return getattr(attention, "q_norm", none)(q), getattr(attention, "k_norm", none)(k)


def rotate(x: Tensor, rope: Tensor, attention: Any) -> Tensor:
    """Rotate the patch tokens of `x` `[B, heads, N, d]`: those after the prefix, to which inserted prompts belong."""
    first = attention.num_prefix_tokens
    patches = apply_rot_embed_cat(x[:, :, first:], rope, half=getattr(attention, "rotate_half", False))
    return torch.cat([x[:, :, :first], patches], dim=2)


def _masked(scores: Tensor, told: dict[str, Any]) -> Tensor:
    mask = told.get("attn_mask")
    if told.get("is_causal"):
        mask = torch.ones(scores.shape[-1], scores.shape[-1], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    row = mask[..., :1, :]
    return scores.masked_fill(~row, float("-inf")) if row.dtype == torch.bool else scores + row


def _last_attention(backbone: Any) -> Any | None:
    blocks = getattr(backbone, "blocks", None)
    attention = (
        getattr(blocks[-1], "attn", None) if isinstance(blocks, nn.Sequential | nn.ModuleList) and blocks else None
    )
    usable = type(attention) in KNOWN and hasattr(getattr(backbone, "patch_embed", None), "dynamic_feat_size")
    return attention if usable else None


def heat(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `[B, H', W']` as pictures `[B, 1, H, W]`, each stretched to its own range [0, 1]."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    stretched = (maps - low) / (high - low).clamp_min(1e-12)
    return F.interpolate(stretched.unsqueeze(1), size=size, mode="nearest")
