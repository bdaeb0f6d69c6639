"""Room for P inserted tokens in whatever a block is told about pairs of positions: masks, biases, rotations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach.attachment import Attachment
from vpt.sites.site import Site


def no_effect(pairs: Tensor) -> float | bool:
    """What leaves a pair as it is: True in a mask, 0 in a bias."""
    return pairs.dtype == torch.bool or 0.0


def with_gap(pairs: Tensor, at: int, length: int, fill: float | bool) -> Tensor:
    """`[..., N, N]` to `[..., N + P, N + P]`: P rows and columns of `fill` before index `at`.

    A single row that stands for all (`[..., 1, N]`) gets columns only.
    """
    for dim in (-2, -1) if pairs.shape[-2] == pairs.shape[-1] else (-1,):
        gap = list(pairs.shape)
        gap[dim] = length
        head, tail = pairs.narrow(dim, 0, at), pairs.narrow(dim, at, pairs.shape[dim] - at)
        pairs = torch.cat([head, pairs.new_full(gap, fill), tail], dim)
    return pairs


def causal(tokens: int, at: int, length: int, device: torch.device) -> Tensor:
    """Causal among the backbone's own N tokens; prompts are seen by all and see all. `[N + P, N + P]` bool."""
    own = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    return with_gap(own, at, length, True)


def widen(kwargs: dict[str, Any], tokens: int, at: int, length: int, device: torch.device) -> dict[str, Any]:
    """A block's keyword arguments, fitted to N + P tokens: masks stay open and biases zero where prompts stand."""
    if kwargs.get("is_causal"):
        kwargs = {**kwargs, "is_causal": False, "attn_mask": causal(tokens, at, length, device)}
    elif (mask := kwargs.get("attn_mask")) is not None:
        kwargs = {**kwargs, "attn_mask": with_gap(mask, at, length, no_effect(mask))}
    if (bias := kwargs.get("shared_rel_pos_bias")) is not None:
        kwargs = {**kwargs, "shared_rel_pos_bias": with_gap(bias, at, length, 0.0)}
    return kwargs


class GappedBias:
    """Stands in for the method that answers BEiT's own bias `[1, H, N, N]`; prompts get zero bias.

    BEiT has no positions for prompts, so any choice is ours: zero leaves their attention to their keys alone.
    """

    def __init__(self, attention: Any, at: int, length: int) -> None:
        self.attention, self.at, self.length = attention, at, length

    def __call__(self) -> Tensor:
        own = type(self.attention)._get_rel_pos_bias(self.attention)
        return with_gap(own, self.at, self.length, 0.0)


def make_room(attachment: Attachment, site: Site, block: Any, length: int) -> None:
    """Let `block` take P more tokens after the prefix without its positions shifting."""
    attention: nn.Module = block.attn if hasattr(block, "attn") else block
    if site.positions == "rotary":
        # every token after the prefix is rotated, so an inserted prompt must count as prefix
        attachment.set(attention, "num_prefix_tokens", site.prefix + length)
    if site.positions == "relative" and getattr(attention, "relative_position_bias_table", None) is not None:
        attachment.set(attention, "_get_rel_pos_bias", GappedBias(attention, site.prefix, length))
