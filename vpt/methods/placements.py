"""The paper's other placements: prompts added to the patches, prompts as pixels, a frame around the image."""

from __future__ import annotations

import torch
from torch import Tensor

from vpt.errors import OptionError
from vpt.methods.layers import Layers, resolve
from vpt.methods.method import Learned, method
from vpt.methods.visual import Init, initializer, without_images
from vpt.prompts import AddedPrompts, FramePrompts, PixelPrompts
from vpt.prompts.tokens import check_flag
from vpt.sites.site import Site


@method("added")
def added(
    site: Site,
    generator: torch.Generator,
    layers: Layers = "first",
    shared: bool = False,
    init: Init = "uniform",
    init_images: Tensor | None = None,
) -> Learned:
    """Prompts added to the patch tokens: one per position, or one shared by all positions."""
    check_flag("shared", shared)
    blocks = resolve(layers, site.depth)
    patches = 1 if shared else site.patches
    return Learned(AddedPrompts(site.width, patches, blocks, initializer(init, site, blocks, init_images), generator))


@method("pixels")
def pixels(site: Site, generator: torch.Generator, length: int = 10, init: Init = "uniform") -> Learned:
    """Prompts as patches of pixels, prepended before the frozen patch embedding."""
    if site.family == "vision_transformer_hybrid":
        raise OptionError("method 'pixels' needs a plain patch embedding; this model embeds patches with a network")
    start = without_images(init, site)
    return Learned(PixelPrompts(length, site.patch_size, site.patch_embed, start, generator))


@method("frame")
def frame(site: Site, generator: torch.Generator, border: int = 4, init: Init = "zeros") -> Learned:
    """A learned frame of pixels around the image (Bahng et al., arXiv:2203.17274)."""
    return Learned(FramePrompts(border, site.image_size, without_images(init, site), generator))
