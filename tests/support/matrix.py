"""The support matrix: one small variant of every kind of model in timm's five transformer modules."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

MODULES = ("vision_transformer", "deit", "eva", "beit", "vision_transformer_hybrid")
"""The timm modules whose every model is supported."""

KINDS = (
    "beit_base_patch16_224",  # Beit, relative position bias
    "deit_base_distilled_patch16_224",  # two heads
    "eva02_base_patch14_224",  # EvaAttention, rotary, mean of patches
    "eva02_base_patch16_clip_224",  # EvaAttention, class token
    "eva02_enormous_patch14_clip_224",  # post-norm
    "vit_betwixt_patch16_rope_reg4_gap_256",  # registers, no class token, rotary
    "vit_7b_patch16_dinov3",  # DINOv3: class token, 4 registers, mean
    "vit_base_patch16_lingbot",  # class token, 4 registers, rotary
    "vit_pe_lang_gigantic_patch14_448",  # AttentionRope, no prefix
    "vit_pe_lang_large_patch14_448",  # AttentionRope, class token, mean
    "vit_pe_core_gigantic_patch14_448",  # attention pooling over all tokens, no prefix
    "vit_pe_core_base_patch16_224",  # attention pooling over all tokens, class token
    "vit_base_patch16_rope_224",  # AttentionRope, class token
    "vit_5b_patch16_sapiens2",  # grouped-query attention, 8 registers
    "aimv2_1b_patch14_224",  # no prefix, mean
    "beit3_base_patch16_224",  # class token, mean, scale norms
    "vit_base_patch16_reg4_gap_256",  # 4 registers only
    "vit_base_patch16_siglip_224",  # attention pooling
    "test_vit3",  # attention pooling, class token
    "vit_so150m_patch16_reg4_map_256",  # attention pooling, 4 registers
    "flexivit_base",  # class token: the plain ViT
    "vit_base_patch14_reg1_tipsv2",  # class token, 1 register
    "vit_base_patch14_reg4_dinov2",  # DINOv2 with registers
    "vit_base_patch16_radio_v3",  # 8 prefix tokens
    "vit_huge_patch16_radio_v4",  # 10 prefix tokens
    "vit_dlittle_patch16_reg1_gap_256",  # differential attention
    "vit_dpwee_patch16_reg1_gap_256",  # differential, parallel
    "vit_pwee_patch16_reg1_gap_256",  # parallel, mean
    "vit_base_patch16_xp_224",  # parallel, class token
    "vit_base_patch16_18x2_224",  # parallel things
    "vit_base_patch16_rpn_224",  # residual post-norm
)
"""One name per distinct (model, block, attention, pooling, prefix tokens)."""

EXTRAS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixed rotary": ("vit_small_patch16_rope_mixed_ape_224", {}),
    "dynamic image size": ("vit_base_patch16_224", {"dynamic_img_size": True}),
    "rotary, dynamic image size": ("vit_base_patch16_rope_224", {"dynamic_img_size": True}),
    "hybrid": ("vit_tiny_r_s16_p8_384", {"img_size": 64, "depth": 2}),
    "beit, one bias for all blocks": (
        "beit_base_patch16_224",
        {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    ),
    "beit, both biases": ("beit_base_patch16_224", {"use_shared_rel_pos_bias": True}),
    "attention pooling with prefix": ("vit_base_patch16_224", {"global_pool": "prr"}),
    "max pooling": ("vit_base_patch16_224", {"global_pool": "max"}),
    "no head": ("vit_base_patch16_224", {"num_classes": 0}),
    "depth 1": ("vit_base_patch16_224", {"depth": 1}),
    "oblong": ("vit_base_patch16_224", {"img_size": (32, 64)}),
    "drop rates": (
        "vit_base_patch16_224",
        {"drop_rate": 0.1, "drop_path_rate": 0.2, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1},
    ),
}
"""Further settings that change where the prefix ends, what positions are or what pooling reads."""

VARIANTS = (*KINDS, *EXTRAS)
SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 3, "num_classes": 5, "img_size": 64}


def kind(model: Any) -> tuple[str, str, str, str, int]:
    """(model, block, attention, pooling, prefix tokens) of a model."""
    block = model.blocks[0]
    attention = type(block.attn).__name__ if hasattr(block, "attn") else "in block"
    return type(model).__name__, type(block).__name__, attention, model.global_pool, model.num_prefix_tokens


def small(variant: str, **overrides: Any) -> nn.Module:
    """The small model of one row, in float64 and eval, every parameter random so that none is without effect."""
    name, settings = EXTRAS.get(variant, (variant, {}))
    grouped = {"num_kv_heads": 1} if name.endswith("sapiens2") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, **{**SMALL, **grouped, **settings, **overrides})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.2).add_(1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0)
    return model.double().eval()


def images(model: Any, batch: int = 2) -> torch.Tensor:
    """Random images `[B, 3, H, W]` of the model's own size."""
    height, width = model.patch_embed.img_size
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
