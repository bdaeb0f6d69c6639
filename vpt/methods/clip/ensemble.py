"""From what the towers answer to what is compared: features of length 1, the mean over several sentences, cosines."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.methods.clip.text_encoder import TextEncoder


def ensemble(templated: TextEncoder, classes: int) -> Tensor:
    """Features `[C, F]`: of each class the mean over its templates' normalised features, normalised again."""
    each = normalised(templated.fixed()).unflatten(0, (classes, -1))
    return F.normalize(each.mean(1), dim=-1)


def normalised(features: Tensor) -> Tensor:
    """Features of length 1 along the last dimension, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)


def cosines(clip: Any, seen: Tensor, classes: Tensor) -> Tensor:
    """CLIP's own logits `[B, C]` of normalised features: `[B, F]`, and `[C, F]` or `[B, C, F]`."""
    with torch.autocast(seen.device.type, enabled=False):  # a hundred times a cosine needs float32
        cosine = torch.einsum("bf,bcf->bc" if classes.dim() == 3 else "bf,cf->bc", seen, classes)
        logits: Tensor = clip.logit_scale.to(seen.dtype).exp() * cosine
        bias = getattr(clip, "logit_bias", None)
        return logits if bias is None else logits + bias
