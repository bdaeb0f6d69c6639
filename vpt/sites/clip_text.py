"""Which text site an open_clip model has.

Covered are `CLIP`, which keeps its tower flat, and `CustomTextCLIP` and `CoCa`, which keep a `TextTransformer` or an
`HFTextEncoder` under `.text`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.sites.clip_hf_text import hf_text_site
from vpt.sites.clip_text_site import TextSite, unsupported
from vpt.sites.site import keeps


def is_open_clip(model: nn.Module) -> bool:
    """Whether the model is one of open_clip's, or a subclass of one; does not import open_clip."""
    return any(base.__module__.partition(".")[0] == "open_clip" for base in type(model).__mro__)


def text_site(model: nn.Module) -> TextSite:
    """The text site of an open_clip model. Raises `UnsupportedBackbone` for one whose text tower takes no prompts."""
    from open_clip.hf_model import HFTextEncoder

    tower = _tower(model)
    if isinstance(tower, HFTextEncoder):
        return hf_text_site(model, tower)
    pooling: Any = "cls" if getattr(tower, "cls_emb", None) is not None else _pool_type(model, tower)
    mask = tower.attn_mask
    causal = mask is not None and _is_causal(mask)
    if pooling not in ("argmax", "eos", "last", "first", "cls"):
        raise unsupported(model, f"its text tower pools by {pooling!r}")
    if pooling == "first" and causal:
        raise unsupported(model, "its text tower reads the first token, which no later one reaches under its mask")
    eos = getattr(tower, "text_eos_id" if tower is model else "eos_id", None)
    hides = pooling == "cls" or getattr(tower, "use_pad_mask", False)
    return TextSite(model, tower, pooling, causal, eos, tower.pad_id if hides else None)


def _tower(model: Any) -> Any:
    from open_clip import CLIP, CoCa, CustomTextCLIP
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer

    if keeps(model, CLIP, "encode_text"):
        return model
    if keeps(model, CustomTextCLIP, "encode_text") or keeps(model, CoCa, "encode_text", "_encode_text"):
        if keeps(model.text, TextTransformer, "forward", "_embeds") or keeps(model.text, HFTextEncoder, "forward"):
            return model.text
        raise unsupported(model, f"its text tower is a {type(model.text).__qualname__}")
    raise unsupported(model, "its text tower is not known")


def _pool_type(model: Any, tower: Any) -> Any:
    return model.text_pool_type if tower is model else tower.pool_type


def _is_causal(mask: Tensor) -> bool:
    below = torch.ones_like(mask, dtype=torch.bool).tril()
    return bool((mask[below] == 0).all() and (mask[~below] == float("-inf")).all())
