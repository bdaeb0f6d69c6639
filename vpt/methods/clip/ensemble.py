"""From what the towers answer to what is compared: features of length 1, and the mean over several sentences."""

from __future__ import annotations

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
