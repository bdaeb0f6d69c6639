"""open_clip's attentions in parts (see `vpt.sites.anatomy.Parts`).

Both that open_clip has had are known: torch's `MultiheadAttention`, and its own `Attention` with a packed
`in_proj_weight`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def fault(attention: Any) -> str | None:
    """Why `attention` cannot be taken apart, or None where it can."""
    from open_clip.transformer import Attention

    if altered(attention):
        return f"a {type(attention).__name__} has hooks or a forward of its own, which would not run"
    if type(attention) not in (nn.MultiheadAttention, Attention):
        return f"no parts are known of {type(attention).__name__}"
    if type(attention.out_proj) not in (nn.Linear, NonDynamicallyQuantizableLinear):
        return f"its projection is a {type(attention.out_proj).__name__}, not torch's Linear"
    if type(attention) is nn.MultiheadAttention:
        plain = attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn
        return None if plain else "its attention has keys or values of other widths, or of its own"
    return None if attention.logit_scale is None else "its attention is a scaled cosine"


def altered(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class says: hooks, or a forward of this one instance."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def project(attention: Any, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
    """The `parts` (a run of `"qkv"`) of tokens, with the model's own query and key norms."""
    width = len(attention.in_proj_weight) // 3
    start = "qkv".index(parts[0]) * width
    rows = slice(start, start + len(parts) * width)
    bias = attention.in_proj_bias
    packed = F.linear(tokens, attention.in_proj_weight[rows], None if bias is None else bias[rows])
    return tuple(_norm(attention, part, x) for part, x in zip(parts, packed.chunk(len(parts), -1), strict=True))


def _norm(attention: Any, part: str, x: Tensor) -> Tensor:
    x = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    norm = getattr(attention, f"ln_{part}", None)
    out: Tensor = x if norm is None else norm(x)
    return out


def rotate(attention: Any, x: Tensor, rope: Tensor | None, prefix: int) -> Tensor:
    """`x`: none of open_clip's attentions rotates."""
    return x


def own_bias(attention: Any, told: dict[str, Any], tokens: int, device: torch.device) -> Tensor | None:
    """The mask that the block is told, if any."""
    found: Tensor | None = told.get("attn_mask")
    return found


def attend(attention: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """What each query reads, `[B, heads, R, d]`."""
    bias = None if bias is None else bias.to(q.dtype)
    read = F.scaled_dot_product_attention(q.type_as(v), k.type_as(v), v, attn_mask=bias)
    return read if getattr(attention, "head_scale", None) is None else read * attention.head_scale


def leave(attention: Any, read: Tensor, tokens: Tensor) -> Tensor:
    """From what the queries of `tokens` `[B, R, D]` read to the attention's answer `[B, R, D]`."""
    out = read.transpose(1, 2).flatten(2)
    if hasattr(attention, "ln_inner"):
        out = attention.ln_inner(out)
    answer: Tensor = attention.out_proj(out)
    return answer
