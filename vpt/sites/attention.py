"""timm's attentions in parts: queries of some tokens, keys and values of others, and the way back to tokens.

Attention as a whole answers every token. The exact shortcuts need less: prompts are keys and values alone, and only
some tokens ask. Shapes: tokens `[B, N, D]`; queries, keys and values `[B, heads, N, d]`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.beit import Attention as BeitAttention
from timm.models.eva import EvaAttention
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor, nn

KNOWN = (Attention, AttentionRope, EvaAttention, BeitAttention, ParallelScalingBlock)
"""The classes that these parts are exact for; timm's parallel block is its own attention."""


def fault(attention: nn.Module) -> str | None:
    """Why `attention` cannot be taken apart, or None where it can."""
    if type(attention) not in KNOWN:
        return f"no parts are known of {type(attention).__name__}"
    if attention._forward_hooks or attention._forward_pre_hooks or "forward" in attention.__dict__:
        return f"a {type(attention).__name__} has hooks or a forward of its own, which would not run"
    return foreign(attention)


def foreign(attention: nn.Module) -> str | None:
    """Why the projections of `attention` cannot be read, or None where they are plain."""
    maps = [getattr(attention, name, None) for name in ("qkv", "q_proj", "k_proj", "v_proj", "in_proj")]
    if changed := [type(m).__name__ for m in maps if m is not None and type(m) is not nn.Linear]:
        return f"its projection is a {changed[0]}, not torch's Linear"
    return None


def project(attention: Any, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
    """The `parts` (`"q"` or `"kv"`) of tokens, with the model's own query and key norms."""
    if getattr(attention, "qkv", attention) is None:
        found = [getattr(attention, f"{part}_proj")(tokens) for part in parts]
    else:
        weight, bias = _packed(attention)
        width = len(weight) // 3
        start = "qkv".index(parts[0]) * width
        rows = slice(start, start + len(parts) * width)
        found = list(F.linear(tokens, weight[rows], None if bias is None else bias[rows]).chunk(len(parts), -1))
    return tuple(_norm(attention, part, _heads(attention, part, x)) for part, x in zip(parts, found, strict=True))


def _packed(attention: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the joint projection to queries, keys and values."""
    if isinstance(attention, ParallelScalingBlock):
        mlp, bias = attention.in_split[0], attention.in_proj.bias
        return attention.in_proj.weight[mlp:], None if bias is None else bias[mlp:]
    if getattr(attention, "q_bias", None) is not None:  # EVA and BEiT keep biases beside the projection
        return attention.qkv.weight, torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    return attention.qkv.weight, attention.qkv.bias


def _heads(attention: Any, part: str, x: Tensor) -> Tensor:
    heads = attention.num_heads if part == "q" else getattr(attention, "num_kv_heads", attention.num_heads)
    split: Tensor = x.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def _norm(attention: Any, part: str, x: Tensor) -> Tensor:
    norm = getattr(attention, f"{part}_norm", None)
    out: Tensor = x if norm is None else norm(x)
    return out


def rotate(attention: Any, x: Tensor, rope: Tensor | None, prefix: int) -> Tensor:
    """Queries or keys with their patches, those after `prefix`, rotated by `rope`, as far as there are any."""
    patches = x.shape[2] - prefix
    if rope is None or patches <= 0:
        return x
    half = getattr(attention, "rotate_half", False)
    rotated = apply_rot_embed_cat(x[:, :, prefix:], rope[..., :patches, :], half=half)
    return torch.cat([x[:, :, :prefix], rotated], dim=2)


def own_bias(attention: Any, told: dict[str, Any], tokens: int, device: torch.device) -> Tensor | None:
    """What the model adds to the scores of its own N tokens, or a boolean mask of them: `[..., N, N]`, or None.

    told: the block's keyword arguments (`attn_mask`, `is_causal`, `shared_rel_pos_bias`).
    """
    if told.get("is_causal"):
        return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    if (mask := told.get("attn_mask")) is not None:
        return torch.as_tensor(mask)
    bias: Tensor | None = told.get("shared_rel_pos_bias")
    if getattr(attention, "relative_position_bias_table", None) is not None:
        table = attention._get_rel_pos_bias()
        bias = table if bias is None else table + bias
    return bias


def attend(attention: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """What each query reads, `[B, heads, R, d]`; grouped queries share keys and values."""
    if (groups := q.shape[1] // k.shape[1]) > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    drop = attention.attn_drop.p if attention.training else 0.0
    bias = bias.to(q.dtype) if bias is not None and bias.is_floating_point() else bias
    return F.scaled_dot_product_attention(q.type_as(v), k.type_as(v), v, attn_mask=bias, dropout_p=drop)


def leave(attention: Any, read: Tensor, tokens: Tensor) -> Tensor:
    """From what the queries of `tokens` `[B, R, D]` read to the attention's answer `[B, R, D]`."""
    out = read.transpose(1, 2).flatten(2)
    if isinstance(attention, ParallelScalingBlock):  # its output projection takes the MLP's half too
        return out
    if (norm := getattr(attention, "norm", None)) is not None:
        out = norm(out)
    if (gate := getattr(attention, "gate", None)) is not None:
        out = out * gate(tokens).sigmoid()
    answer: Tensor = attention.proj_drop(attention.proj(out))
    return answer
