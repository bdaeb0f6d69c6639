"""The weights of an attention, which fused attention never forms: computed again for one token alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vpt.attach.fused import Fused
from vpt.sites import block as blocks


def first_weights(reader: Fused, x: Tensor, told: dict[str, Any]) -> Tensor:
    """Weights `[B, heads, N]` of the first token over all that it reads, prompts that are only read last.

    Of the last attention of the reader's block, for the block's input `x` `[B, N, D]` and keyword arguments.
    """
    norm, attention = blocks.anatomy(reader.block).attentions(reader.block)[-1]
    tokens = norm(x)
    brought = reader.keys_values(len(x), x.dtype)[-1]
    q, k, _, bias = reader.scores(attention, tokens, tokens[:, :1], brought, told)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # grouped queries share keys
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias
    weights: Tensor = scores.softmax(-1)
    return weights[:, :, 0]
