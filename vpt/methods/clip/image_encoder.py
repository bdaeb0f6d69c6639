"""The image tower of a CLIP, with or without prompts in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach import Attachment, Fused, attach, attach_fused, trunk
from vpt.prompts.tokens import Tokens
from vpt.sites.clip_attention import altered
from vpt.sites.clip_visual import ClipVisualSite, visual_site
from vpt.sites.site import Site, keeps


class ImageEncoder:
    """From images `[B, 3, H, W]` to features `[B, F]`, not normalised.

    prompts: what enters the tower, if anything; it is attached here, by `path`, "fused" or "hooks".
    """

    def __init__(self, clip: nn.Module, prompts: Tokens | None, path: str, attachment: Attachment) -> None:
        self._clip: Any = clip
        self._attachment = attachment
        self._site: Site | None = None
        self._fused: list[Fused] = []
        if prompts is None:
            return
        self._site = visual_site(clip)
        if path == "fused":
            self._fused = attach_fused(prompts, self._site, attachment)
        else:
            attach(prompts, self._site, attachment)

    def __call__(self, images: Tensor) -> Tensor:
        """Features of images, by the tower as it is now."""
        if self._fused and self._site is not None and steps_are_all(self._clip, self._site):
            return self._after(trunk.forward(self._site, images))
        found: Tensor = self._clip.encode_image(images, normalize=False)
        return found

    @torch.no_grad()
    def frozen(self, images: Tensor) -> Tensor:
        """Features of images by the tower as it was before anything entered it."""
        if self._site is None:
            return self(images)
        with self._attachment.own_attributes():  # room for prompts shifts what follows them
            return self._after(trunk.bare(self._site, images))

    def _after(self, answer: Tensor) -> Tensor:
        """What follows a timm model inside the tower; nothing where the site is the tower itself."""
        tower = self._clip.visual
        if self._site is None or self._site.backbone is tower:
            return answer
        out: Tensor = tower.head(answer)
        return out


def steps_are_all(clip: Any, site: Site) -> bool:
    """Whether the tower's steps, one by one, are all that the model does to encode an image."""
    from open_clip import CLIP, CoCa, CustomTextCLIP

    stock = any(keeps(clip, kind, "encode_image") for kind in (CLIP, CustomTextCLIP))
    stock = stock or keeps(clip, CoCa, "encode_image", "_encode_image")
    passed_by = clip.visual.transformer if isinstance(site, ClipVisualSite) else clip.visual
    return stock and "encode_image" not in clip.__dict__ and not altered(passed_by) and trunk.whole(site)
