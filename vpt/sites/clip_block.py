"""The blocks of open_clip's towers in parts: where their attention reads, and how a block ends once it has answered."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vpt.sites import clip_attention
from vpt.sites.anatomy import Anatomy


def is_clip_block(block: nn.Module) -> bool:
    """Whether the block is of a class of open_clip's; does not import open_clip."""
    return type(block).__module__ == "open_clip.transformer"


def fault(block: Any) -> str | None:
    """Why a block cannot be taken apart, or None where it can."""
    from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock

    if type(block) not in (ResidualAttentionBlock, CustomResidualAttentionBlock) or hasattr(block, "ln_1_kv"):
        return f"no parts are known of {type(block).__name__}"
    if clip_attention.altered(block):
        return f"a {type(block).__name__} has hooks or a forward of its own, which would not run"
    return clip_attention.fault(block.attn)


def _close(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    (answer,) = answers
    if hasattr(block, "ln_attn"):
        answer = block.ln_attn(answer)
    x = x + block.ls_1(answer)
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out


ANATOMY = Anatomy(lambda block: [(block.ln_1, block.attn)], _close, clip_attention)
"""Of every block without a `fault`."""
