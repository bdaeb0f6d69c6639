"""Small random CLIPs, one of every kind of image tower that open_clip makes around a transformer."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from timm.models.beit import Beit
from timm.models.eva import Eva

IN_TIMM = {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 160}
TRUNK: dict[str, Any] = {
    "img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2, "num_classes": 0,
    "global_pool": "token",
}  # fmt: skip
"""Settings of a model of timm's that takes the place of `test_vit`, which is as wide."""

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
    "timm": IN_TIMM,
    "timm, mean, mlp": {**IN_TIMM, "timm_pool": "avg", "timm_proj": "mlp"},
    "timm, attention pooling": {**IN_TIMM, "timm_model_name": "test_vit3", "timm_pool": "map"},
    "timm, rotary": {**IN_TIMM, "trunk": (Eva, {"use_rot_pos_emb": True, "ref_feat_shape": (4, 4)})},
    "timm, rotary, other attention": {
        **IN_TIMM, "trunk": (Eva, {"use_rot_pos_emb": True, "attn_type": "rope", "num_reg_tokens": 2}),
    },
    "timm, relative": {**IN_TIMM, "trunk": (Beit, {"use_rel_pos_bias": True})},
    "timm, relative, shared": {**IN_TIMM, "trunk": (Beit, {"use_shared_rel_pos_bias": True})},
}  # fmt: skip
"""Vision settings of one CLIP for each way of pooling, normalising and attending.

coca: the model is open_clip's CoCa. trunk: class and further settings of the timm model inside the tower.
"""


def visual_clip(tower: str, custom: bool = False, precision: str = "fp64") -> Any:
    """The CLIP of one row, in eval, for the texts of `SmallTokenizer`; every parameter is random.

    precision: "fp64", or open_clip's "bf16" or "fp16": what multiplies is in half precision, the rest in float32.
    """
    vision = {"image_size": 16, "patch_size": 4, "width": 16, "layers": 3, "head_width": 8, **TOWERS[tower]}
    text = {"context_length": 40, "vocab_size": 100, "width": 12, "heads": 3, "layers": 4}
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    more: dict[str, Any] = {"cast_dtype": low}
    kind: Any = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if vision.pop("coca", False):
        kind = open_clip.CoCa
        more["multimodal_cfg"] = {"context_length": 40, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}
        text |= {"embed_cls": True, "output_tokens": True}
    trunk = vision.pop("trunk", None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = kind(24, vision_cfg=vision, text_cfg=text, **more)
        if trunk is not None:
            clip.visual.trunk, clip.visual.image_size = trunk[0](**TRUNK, **trunk[1]), (32, 32)
        with torch.no_grad():
            for parameter in clip.parameters():
                if parameter.dim():
                    parameter.normal_(0, 0.3).add_(1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0)
    if low is None:
        return clip.double().eval()
    open_clip.model.convert_weights_to_lp(clip, low)
    return clip.eval()


def images_of(clip: Any, batch: int = 3) -> torch.Tensor:
    """Random images `[B, 3, H, W]` of the size that the tower was built for."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, *clip.visual.image_size, dtype=torch.float64, generator=generator)
