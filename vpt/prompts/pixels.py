"""Prompts in pixel space: patches prepended before the patch embedding, and a frame around the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.errors import OptionError
from vpt.prompts.init import Initializer
from vpt.prompts.prompts import Prompts
from vpt.prompts.tokens import Tokens, check_positive


class PixelPrompts(Tokens):
    """P learned patches of pixels, which the frozen patch embedding turns into P tokens for the first block.

    The paper's "prepend-pixel" (arXiv:2203.12119, figure 5). `embed` maps pixels `[1, 3, ph, P * pw]` to `[1, P, D]`.
    """

    def __init__(
        self, length: int, patch_size: tuple[int, int], embed: nn.Module, init: Initializer,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive("length", length)
        self.length, self.layers = length, (0,)
        self.pixels = nn.Parameter(init((3, patch_size[0], length * patch_size[1]), generator))
        self._embed: tuple[Any] = (embed,)  # in a tuple: frozen, and not a part of what is learned

    def forward(self, layer: int, batch: int) -> Tensor:
        """The tokens `[1, P, D]` of the learned patches."""
        embed = self._embed[0]
        weight = embed.proj.weight
        tokens = embed.proj(self.pixels.unsqueeze(0).to(weight.dtype)).flatten(2).transpose(1, 2)
        out: Tensor = embed.norm(tokens)
        return out


class FramePrompts(Prompts):
    """A learned frame, `border` pixels wide, added to the normalised image (Bahng et al., arXiv:2203.17274)."""

    def __init__(
        self, border: int, image_size: tuple[int, int], init: Initializer, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_positive("border", border)
        height, width = image_size
        if 2 * border >= min(image_size):
            raise OptionError(
                f"border is {border}; for images of {height} x {width} it must be below {min(image_size) // 2}"
            )
        self.border = border
        self.top = nn.Parameter(init((3, border, width), generator))
        self.bottom = nn.Parameter(init((3, border, width), generator))
        self.left = nn.Parameter(init((3, height - 2 * border, border), generator))
        self.right = nn.Parameter(init((3, height - 2 * border, border), generator))

    def forward(self) -> Tensor:
        """The frame with zeros inside, `[3, H, W]`."""
        inside = self.top.shape[2] - 2 * self.border
        middle = torch.cat([F.pad(self.left, (0, inside)), self.right], dim=2)
        return torch.cat([self.top, middle, self.bottom], dim=1)
