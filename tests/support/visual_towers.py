"""Small random CLIPs, one of every kind of image tower that open_clip makes around a transformer."""

from __future__ import annotations

from typing import Any

import open_clip
import torch

TOWERS: dict[str, dict[str, Any]] = {
    "class token": {},
    "class token, no ln_pre": {"no_ln_pre": True},
    "mean": {"pool_type": "avg"},
    "normalised after pooling": {"pool_type": "avg", "final_ln_after_pool": True},
    "attention pooling": {"attentional_pool": True, "attn_pooler_heads": 2},
    "coca": {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True, "coca": True},
    "own attention": {"block_type": "custom"},
    "own attention, qk norm": {"qk_norm": True},
    "scaled cosine": {"scaled_cosine_attn": True},
    "scaled parts": {
        "scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True, "ls_init_value": 0.5,
    },
    "timm": {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 160},
    "timm, mean, mlp": {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "mlp", "image_size": 160},
    "timm, attention pooling": {"timm_model_name": "test_vit3", "timm_pool": "map", "image_size": 160},
}  # fmt: skip
"""Vision settings of one CLIP for each way of pooling, normalising and attending.

coca: the model is open_clip's CoCa.
"""


def visual_clip(tower: str, custom: bool = False) -> Any:
    """The CLIP of one row, in float64 and eval, for the texts of `SmallTokenizer`; every parameter is random."""
    vision = {"image_size": 16, "patch_size": 4, "width": 16, "layers": 3, "head_width": 8, **TOWERS[tower]}
    text = {"context_length": 40, "vocab_size": 100, "width": 12, "heads": 3, "layers": 4}
    more: dict[str, Any] = {}
    kind: Any = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if vision.pop("coca", False):
        kind = open_clip.CoCa
        more["multimodal_cfg"] = {"context_length": 40, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}
        text |= {"embed_cls": True, "output_tokens": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = kind(24, vision_cfg=vision, text_cfg=text, **more)
        with torch.no_grad():
            for parameter in clip.parameters():
                if parameter.dim():
                    parameter.normal_(0, 0.3).add_(1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0)
    return clip.double().eval()


def images_of(clip: Any, batch: int = 3) -> torch.Tensor:
    """Random images `[B, 3, H, W]` of the size that the tower was built for."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, *clip.visual.image_size, dtype=torch.float64, generator=generator)
