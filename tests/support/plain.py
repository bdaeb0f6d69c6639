"""The forward pass with prompts, written out: no hooks, tokens concatenated by hand. What the hooks must equal."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.beit import Beit
from timm.models.eva import Eva
from torch import Tensor


def insert(x: Tensor, prompts: Tensor, prefix: int) -> Tensor:
    """`[B, N, D]` and `[P, D]` to `[B, prefix + P + rest, D]`."""
    return torch.cat([x[:, :prefix], prompts.expand(len(x), -1, -1), x[:, prefix:]], 1)


def forward(model: Any, images: Tensor, prompts: dict[int, Tensor]) -> Tensor:
    """The output of `model` with `prompts[i]`, `[P, D]`, entering block i and replacing those before."""
    x, extras = embed(model, images)
    prefix, held = model.num_prefix_tokens, 0
    for i, block in enumerate(model.blocks):
        if i in prompts:
            x = insert(torch.cat([x[:, :prefix], x[:, prefix + held :]], 1), prompts[i], prefix)
            held = len(prompts[i])
        x = run_block(model, block, i, x, extras, held)
    x = torch.cat([x[:, :prefix], x[:, prefix + held :]], 1)
    return model.forward_head(model.norm(x))


def embed(model: Any, images: Tensor) -> tuple[Tensor, Any]:
    """Tokens before the first block, and what the blocks are told about positions."""
    x = model.patch_embed(images)
    if isinstance(model, Beit):
        x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], 1)
        x = x if model.pos_embed is None else x + model.pos_embed
        return x, None if model.rel_pos_bias is None else model.rel_pos_bias()
    if isinstance(model, Eva):
        x, rope = model._pos_embed(x)
        return model.norm_pre(x), rope
    return model.norm_pre(model._pos_embed(x)), None


def run_block(model: Any, block: Any, i: int, x: Tensor, extras: Any, held: int) -> Tensor:
    if isinstance(model, Beit):
        return beit_block(block, x, extras, held)
    if isinstance(model, Eva):
        rope = extras if extras is None or not model.rope_mixed else extras[i]
        return block(x, rope=None if rope is None else unrotated(rope, held))
    return block(x)


def unrotated(rope: Tensor, held: int) -> Tensor:
    """`rope` (sines, then cosines) with `held` rows in front that rotate by nothing: sine 0, cosine 1."""
    rows = torch.zeros(*rope.shape[:-2], held, rope.shape[-1], dtype=rope.dtype)
    rows[..., rope.shape[-1] // 2 :] = 1
    return torch.cat([rows, rope], -2)


def beit_block(block: Any, x: Tensor, shared: Tensor | None, held: int) -> Tensor:
    """BEiT's block with its attention written out; the bias is zero in the rows and columns of prompts."""
    attention, y = block.attn, block.norm1(x)
    b, n, _ = y.shape
    bias = 0 if attention.q_bias is None else torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    q, k, v = (attention.qkv(y) + bias).view(b, n, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * attention.scale
    own = [i for i in range(n) if not 1 <= i < 1 + held]
    pairs = torch.zeros(1, attention.num_heads, len(own), len(own), dtype=x.dtype)
    if attention.relative_position_bias_table is not None:
        pairs = pairs + attention._get_rel_pos_bias()
    if shared is not None:
        pairs = pairs + shared
    full = torch.zeros_like(scores)
    full[:, :, torch.tensor(own)[:, None], torch.tensor(own)] = pairs
    y = attention.proj(((scores + full).softmax(-1) @ v).transpose(1, 2).flatten(2))
    x = x + (y if block.gamma_1 is None else block.gamma_1 * y)
    y = block.mlp(block.norm2(x))
    return x + (y if block.gamma_2 is None else block.gamma_2 * y)
