"""The blocks of open_clip's text towers in parts: queries, keys and values of tokens, and the way back to tokens.

Shapes: tokens `[n, N, D]`; queries, keys and values `[n, heads, N, d]`. Both of open_clip's attentions are known:
torch's `MultiheadAttention`, and its own `Attention` with a packed `in_proj_weight`.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def fault(block: Any) -> str | None:
    """Why a block cannot be taken apart, or None where it can."""
    from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock

    if type(block) not in (ResidualAttentionBlock, CustomResidualAttentionBlock) or hasattr(block, "ln_1_kv"):
        return f"no parts are known of {type(block).__name__}"
    for module in (block, block.attn):
        if altered(module):
            return f"a {type(module).__name__} has hooks or a forward of its own, which would not run"
    return _attention_fault(block.attn)


def altered(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class says: hooks, or a forward of this one instance."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def _attention_fault(attention: Any) -> str | None:
    from open_clip.transformer import Attention

    if type(attention.out_proj) not in (nn.Linear, NonDynamicallyQuantizableLinear):
        return f"its projection is a {type(attention.out_proj).__name__}, not torch's Linear"
    if type(attention) is nn.MultiheadAttention:
        plain = attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn
        return None if plain else "its attention has keys or values of other widths, or of its own"
    if type(attention) is Attention:
        return None if attention.logit_scale is None else "its attention is a scaled cosine"
    return f"no parts are known of {type(attention).__name__}"


def project(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the tokens that enter a block without `fault`."""
    attention = block.attn
    packed = F.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in packed.chunk(3, -1))
    if hasattr(attention, "ln_q"):
        q, k = attention.ln_q(q), attention.ln_k(k)
    return q, k, v


def close(block: Any, tokens: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The block's output for the `tokens` `[n, R, D]` whose queries are `q`; `mask` is added to the scores."""
    attention = block.attn
    read = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask.to(q.dtype))
    if getattr(attention, "head_scale", None) is not None:
        read = read * attention.head_scale
    read = read.transpose(1, 2).flatten(2)
    if hasattr(attention, "ln_inner"):
        read = attention.ln_inner(read)
    answer = attention.out_proj(read)
    if hasattr(block, "ln_attn"):
        answer = block.ln_attn(answer)
    tokens = tokens + block.ls_1(answer)
    out: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return out
