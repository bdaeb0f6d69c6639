"""Small tuned CLIPs whose learned tensors have moved."""

from __future__ import annotations

from typing import Any

import torch

import vpt
from support.small_tokenizer import SmallTokenizer
from support.text_towers import images, small_clip

NAMES = ["cat", "sea lion", "go-kart", "tomi"]
DIGITS = ["nil", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tuned_clip(method: str, clip: Any = None, names: list[str] | None = None, **options: Any) -> vpt.methods.TunedClip:
    """The method on a small CLIP, as it starts."""
    clip = small_clip(context_length=40) if clip is None else clip
    return vpt.tune(clip, method, classnames=names or NAMES, **{"tokenizer": SmallTokenizer(), **options})


def moved(method: str, clip: Any = None, **options: Any) -> vpt.methods.TunedClip:
    """The same in eval, with noise on every learned tensor."""
    tuned = tuned_clip(method, clip, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in tuned.trainable().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return tuned.eval()


class Pictures:
    """8 images of the classes in `NAMES`, as `fit` reads them."""

    def __init__(self) -> None:
        self.pixels = images(8).float()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.pixels[index], "label": index % 4, "index": index}
