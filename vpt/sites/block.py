"""Blocks in parts: where their attentions read, and how a block ends once these have answered. timm's stand here,
open_clip's in `vpt.sites.clip_block`.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.beit import Block as BeitBlock
from timm.models.eva import EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ParallelScalingBlock, ParallelThingsBlock, ResPostBlock
from torch import Tensor, nn

from vpt.sites import attention as parts
from vpt.sites import clip_block
from vpt.sites.anatomy import Anatomy


def anatomy(block: nn.Module) -> Anatomy:
    """The anatomy of a block that has no `fault`."""
    return clip_block.ANATOMY if clip_block.is_clip_block(block) else _ANATOMIES[type(block)]


def fault(block: nn.Module) -> str | None:
    """Why the block cannot be taken apart, or None where it can."""
    if clip_block.is_clip_block(block):
        return clip_block.fault(block)
    if type(block) not in _ANATOMIES:
        return f"no parts are known of {type(block).__name__}"
    attentions = (attention for _, attention in anatomy(block).attentions(block))
    found = (parts.foreign(block) if attention is block else parts.fault(attention) for attention in attentions)
    return next((reason for reason in found if reason), None)


# --- how blocks end ------------------------------------------------------------------------------


def _pre_norm(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    x = x + block.drop_path1(block.ls1(answers[0]))
    out: Tensor = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    return out


def _post_norm(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    x = x + block.drop_path1(block.norm1(answers[0]))
    out: Tensor = x + block.drop_path2(block.norm2(block.mlp(x)))
    return out


def _scaled(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    x = x + block.drop_path1(_times(block.gamma_1, answers[0]))
    out: Tensor = x + block.drop_path2(_times(block.gamma_2, block.mlp(block.norm2(x))))
    return out


def _times(gamma: Tensor | None, x: Tensor) -> Tensor:
    return x if gamma is None else gamma * x


def _parallel(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    """Attention and MLP side by side. The MLP's half of the joint projection is taken for the asking tokens alone."""
    hidden, bias = block.in_split[0], block.in_proj.bias if block.mlp_bias is None else block.mlp_bias
    bias = None if bias is None else bias[:hidden]
    y = nn.functional.linear(block.in_norm(x), block.in_proj.weight[:hidden], bias)
    y = block.mlp_drop(block.mlp_act(y))
    if getattr(block, "out_proj", None) is not None:
        y = block.out_proj(torch.cat((answers[0], y), dim=-1))
    else:
        y = block.attn_out_proj(answers[0]) + block.mlp_out_proj(y)
    out: Tensor = x + block.drop_path(block.ls(y))
    return out


def _things(block: Any, x: Tensor, answers: list[Tensor]) -> Tensor:
    scaled = [attn.drop_path(attn.ls(answer)) for attn, answer in zip(block.attns, answers, strict=True)]
    x = x + torch.stack(scaled).sum(dim=0)
    out: Tensor = x + torch.stack([ffn(x) for ffn in block.ffns]).sum(dim=0)
    return out


_BARE = nn.Identity()
_AFTER_NORM1 = Anatomy(lambda block: [(block.norm1, block.attn)], _pre_norm, parts)
_ANATOMIES: dict[type[nn.Module], Anatomy] = {
    Block: _AFTER_NORM1,
    EvaBlock: Anatomy(_AFTER_NORM1.attentions, _scaled, parts),
    BeitBlock: Anatomy(_AFTER_NORM1.attentions, _scaled, parts),
    ResPostBlock: Anatomy(lambda block: [(_BARE, block.attn)], _post_norm, parts),
    EvaBlockPostNorm: Anatomy(lambda block: [(_BARE, block.attn)], _post_norm, parts),
    ParallelScalingBlock: Anatomy(lambda block: [(block.in_norm, block)], _parallel, parts),
    ParallelThingsBlock: Anatomy(lambda block: [(attn.norm, attn.attn) for attn in block.attns], _things, parts),
}
