"""A classifier that is fitted in a moment, and images for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer

from vpt.estimator import PromptClassifier


def tiny(seed: int = 0) -> VisionTransformer:
    """A random ViT for 16 × 16 pixels, without a head; positions, which would drown faint pixels, count for nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=0)
    torch.nn.init.zeros_(model.pos_embed)
    return model.eval()


def classifier(backbone: Any = None, method: str = "deep", **changes: Any) -> PromptClassifier:
    """Two epochs on a tiny backbone."""
    given: dict[str, Any] = {"epochs": 2, "batch_size": 8, "lr": 0.05, **changes}
    return PromptClassifier(tiny() if backbone is None else backbone, method, **given)


def pictures(n: int = 12, size: tuple[int, ...] = (16, 16, 3), seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels `[n, *size]`, every second image dark."""
    values = np.random.default_rng(seed).integers(0, 128, (n, *size), np.uint8)
    values[::2] += 127
    return values


LABELS = np.array(["light", "dark"] * 6)
