"""Small random CLIPs, one of every kind of text tower that open_clip makes, for the texts of `SmallTokenizer`."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor

from support.small_tokenizer import END

TOWERS: dict[str, tuple[type, dict[str, Any]]] = {
    "flat": (open_clip.CLIP, {}),
    "flat, not causal": (open_clip.CLIP, {"no_causal_mask": True}),
    "flat, eos": (open_clip.CLIP, {"pool_type": "eos", "eos_id": END}),
    "flat, last": (open_clip.CLIP, {"pool_type": "last"}),
    "flat, own attention": (open_clip.CLIP, {"block_type": "custom"}),
    "text": (open_clip.CustomTextCLIP, {}),
    "text, eos, own attention": (open_clip.CustomTextCLIP, {"pool_type": "eos", "eos_id": END, "qk_norm": True}),
    "text, last": (open_clip.CustomTextCLIP, {"pool_type": "last", "proj_bias": True}),
    "text, SigLIP": (open_clip.CustomTextCLIP, {"pool_type": "last", "no_causal_mask": True, "proj_bias": True}),
    "text, first": (open_clip.CustomTextCLIP, {"pool_type": "first", "no_causal_mask": True}),
    "text, padding hidden": (open_clip.CustomTextCLIP, {"no_causal_mask": True, "later": {"use_pad_mask": True}}),
    "text, no projection": (open_clip.CustomTextCLIP, {"proj_type": "none", "width": 64, "heads": 2}),
    "text, class token": (open_clip.CustomTextCLIP, {"embed_cls": True}),
    "text, class token, mask corrected": (
        open_clip.CustomTextCLIP,
        {"embed_cls": True, "later": {"correct_cls_mask": True}},
    ),
    "text, class token, not causal": (open_clip.CustomTextCLIP, {"embed_cls": True, "no_causal_mask": True}),
    "text, scaled parts": (
        open_clip.CustomTextCLIP,
        {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True, "ls_init_value": 0.5},
    ),
    "coca": (open_clip.CoCa, {"embed_cls": True, "output_tokens": True}),
}
"""Class and text settings of one CLIP for each way of masking, pooling, projecting and attending.

later: attributes of the text tower that its configuration does not reach.
"""

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}


def small_clip(tower: str = "flat", quick_gelu: bool = False, **text: Any) -> Any:
    """The CLIP of one row, in float64 and eval; every parameter is random, so that none is without effect."""
    kind, settings = TOWERS[tower]
    options = {"context_length": 20, "vocab_size": 100, "width": 12, "heads": 3, "layers": 3, **settings, **text}
    later = options.pop("later", {})
    more: dict[str, Any] = {}
    vision: dict[str, Any] = dict(VISION)
    if kind is open_clip.CoCa:
        vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        more["multimodal_cfg"] = {"context_length": 20, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = kind(64, vision_cfg=vision, text_cfg=options, quick_gelu=quick_gelu, init_logit_bias=-0.5, **more)
        with torch.no_grad():
            for parameter in clip.parameters():
                if parameter.dim():
                    parameter.normal_(0, 0.3).add_(1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0)
    for name, value in later.items():
        setattr(clip.text, name, value)
    return clip.double().eval()


def images(batch: int = 3) -> Tensor:
    """Random images `[B, 3, 16, 16]`."""
    return torch.randn(batch, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
