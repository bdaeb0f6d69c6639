"""Small random CLIPs, one of every kind of text tower that open_clip makes, for the texts of `SmallTokenizer`."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from torch import Tensor

from support.small_tokenizer import END, PAD

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

HF_TOWERS: dict[str, dict[str, Any]] = {
    "bert, mean": {"kind": "bert", "pooler": "mean", "proj": "linear"},
    "bert, pooler": {"kind": "bert", "pooler": "cls", "proj": "mlp"},
    "bert, causal": {"kind": "bert", "pooler": "mean", "proj": "linear", "is_decoder": True},
    "roberta, mean": {"kind": "roberta", "pooler": "mean", "proj": "mlp"},
    "xlm-roberta, mean": {"kind": "xlm-roberta", "pooler": "mean", "proj": "linear"},
    "xlm-roberta, first": {"kind": "xlm-roberta", "pooler": "cls_last_hidden_state", "proj": "mlp"},
    "mt5, mean": {"kind": "mt5", "pooler": "mean", "proj": "linear"},
    "mt5, no projection": {"kind": "mt5", "pooler": "mean", "proj": None, "d_model": 64},
    "m2m_100, first": {"kind": "m2m_100", "pooler": "cls", "proj": "linear"},
    "coca, roberta": {"kind": "roberta", "pooler": "mean", "proj": "linear", "clip": open_clip.CoCa},
}
"""Encoder, pooling and projection of one CLIP for each kind of Hugging Face tower; the rest is the encoder's."""

BERT = {
    "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 41,
}  # fmt: skip
HF_SIZES: dict[str, dict[str, Any]] = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "mt5": {"d_model": 12, "d_kv": 4, "num_layers": 3, "num_heads": 3, "d_ff": 20},
    "m2m_100": {
        "d_model": 12, "encoder_layers": 3, "encoder_attention_heads": 3, "encoder_ffn_dim": 20, "decoder_layers": 1,
        "decoder_attention_heads": 3, "decoder_ffn_dim": 20, "max_position_embeddings": 41,
    },
}  # fmt: skip

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}


def small_clip(tower: str = "flat", quick_gelu: bool = False, **text: Any) -> Any:
    """The CLIP of one row, in float64 and eval; every parameter is random, so that none is without effect."""
    kind, settings = TOWERS[tower]
    options = {"context_length": 20, "vocab_size": 100, "width": 12, "heads": 3, "layers": 3, **settings, **text}
    later = options.pop("later", {})
    clip = _random(kind, options, quick_gelu=quick_gelu)
    for name, value in later.items():
        setattr(clip.text, name, value)
    return clip


def small_hf_clip(tower: str = "bert, mean", **changes: Any) -> Any:
    """The CLIP of one row of `HF_TOWERS`, as `small_clip` makes its own; without any file or download.

    changes: of the row; what it names beside kind, pooler, proj and clip goes to the encoder's configuration.
    """
    from transformers import AutoConfig

    row = {"clip": open_clip.CustomTextCLIP, **HF_TOWERS[tower], **changes}
    kind, pooler, proj, clip = (row.pop(name) for name in ("kind", "pooler", "proj", "clip"))
    settings = {"vocab_size": 100, "pad_token_id": PAD, **HF_SIZES[kind], **row}
    with TemporaryDirectory() as folder:  # where open_clip looks for a configuration
        AutoConfig.for_model(kind, **settings).save_pretrained(folder)
        text = {"hf_model_name": folder, "hf_model_pretrained": False, "hf_pooler_type": f"{pooler}_pooler"}
        more = {"output_tokens": True} if clip is open_clip.CoCa else {}
        return _random(clip, {**text, "hf_proj_type": proj, **more})


def _random(kind: type, text: dict[str, Any], **more: Any) -> Any:
    vision: dict[str, Any] = dict(VISION)
    if kind is open_clip.CoCa:
        vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        more["multimodal_cfg"] = {"context_length": 20, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = kind(64, vision_cfg=vision, text_cfg=text, init_logit_bias=-0.5, **more)
        with torch.no_grad():
            for parameter in clip.parameters():
                if parameter.dim():
                    parameter.normal_(0, 0.3).add_(1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0)
    return clip.double().eval()


def images(batch: int = 3) -> Tensor:
    """Random images `[B, 3, 16, 16]`."""
    return torch.randn(batch, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
