"""The plain path: forward (pre-)hooks on stock blocks insert the tokens. This is the definition of every prompt.

A prompted block sees [prefix, prompts, patches]. What it answers at the prompt slots is carried on only as long as
nothing replaces it: it is dropped where the next block brings prompts of its own, and after the last block.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vpt.attach.attachment import Attachment
from vpt.attach.room import make_room, widen
from vpt.errors import OptionError
from vpt.prompts import AddedPrompts, FramePrompts, Tokens
from vpt.sites.site import Site

Pool = Literal["backbone", "prompts", "patches", "all"]
POOLS: tuple[Pool, ...] = ("backbone", "prompts", "patches", "all")
"""What is read at the end: what the backbone reads, or the mean of prompts, of patches, of all tokens."""


class Enter:
    """Pre-hook of a block: brings the block's own prompts in, and fits masks and biases to those it holds.

    entry: what prompts go through before they join the tokens, if anything.
    """

    def __init__(self, prompts: Tokens, layer: int, prefix: int, entry: nn.Module | None = None) -> None:
        self.prompts, self.layer, self.prefix, self.entry = prompts, layer, prefix, entry

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        x, length = args[0], self.prompts.length
        brings = self.layer in self.prompts.layers
        tokens = x.shape[1] if brings else x.shape[1] - length
        kwargs = widen(kwargs, tokens, self.prefix, length, x.device)
        if brings:
            new = self.prompts(self.layer, x.shape[0]).to(x.dtype)
            new = (new if self.entry is None else self.entry(new)).expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, : self.prefix], new, x[:, self.prefix :]], dim=1)
        return (x, *args[1:]), kwargs


class Leave:
    """Forward hook of a block: drops the P tokens after the prefix."""

    def __init__(self, prefix: int, length: int) -> None:
        self.prefix, self.length = prefix, length

    def __call__(self, block: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.cat([output[:, : self.prefix], output[:, self.prefix + self.length :]], dim=1)


class Read:
    """Forward hook of the final norm: every token becomes the mean that `pool` names, so that any pooling reads it."""

    def __init__(self, prefix: int, length: int, pool: Pool) -> None:
        self.prefix, self.length, self.pool = prefix, length, pool

    def __call__(self, norm: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        end = self.prefix + self.length
        kept = {"prompts": output[:, self.prefix : end], "patches": output[:, end:], "all": output}[self.pool]
        return kept.mean(1, keepdim=True).expand(-1, output.shape[1] - self.length, -1)


class AddTokens:
    """Pre-hook of a block: adds the prompts to the patch tokens."""

    def __init__(self, prompts: AddedPrompts, layer: int, prefix: int) -> None:
        self.prompts, self.layer, self.prefix = prompts, layer, prefix

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        x = args[0]
        added = self.prompts(self.layer).to(x.dtype)
        if added.shape[1] not in (1, x.shape[1] - self.prefix):
            raise OptionError(
                f"added prompts have {added.shape[1]} positions, these images {x.shape[1] - self.prefix} patches; "
                "use shared=True for images of any size"
            )
        patches = x[:, self.prefix :] + added
        return (torch.cat([x[:, : self.prefix], patches], dim=1), *args[1:]), kwargs


class AddFrame:
    """Pre-hook of the patch embedding: adds the frame to the images."""

    def __init__(self, prompts: FramePrompts) -> None:
        self.prompts = prompts

    def __call__(self, embed: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        images = args[0]
        return (images + self.prompts().to(images.dtype), *args[1:]), kwargs


@singledispatch
def attach(prompts: nn.Module, site: Site, attachment: Attachment, pool: Pool = "backbone") -> None:
    """Join `prompts` to `site`; every change goes through `attachment`. A kind of prompts is one `register` here."""
    raise OptionError(f"prompts of type {type(prompts).__name__} cannot be attached to a {site.family} model")


@attach.register
def _(prompts: Tokens, site: Site, attachment: Attachment, pool: Pool = "backbone") -> None:
    if not prompts.layers:
        return
    first, last = prompts.layers[0], site.depth - 1
    for layer in range(first, site.depth):
        block = site.blocks[layer]
        make_room(attachment, site, block, prompts.length)
        attachment.before(block, Enter(prompts, layer, site.prefix, None if layer else site.entry))
        if layer + 1 in prompts.layers or (layer == last and pool == "backbone"):
            attachment.after(block, Leave(site.prefix, prompts.length))
    if pool != "backbone":
        attachment.after(site.final_norm, Read(site.prefix, prompts.length, pool))


@attach.register
def _(prompts: AddedPrompts, site: Site, attachment: Attachment, pool: Pool = "backbone") -> None:
    for layer in prompts.layers:
        attachment.before(site.blocks[layer], AddTokens(prompts, layer, site.prefix))


@attach.register
def _(prompts: FramePrompts, site: Site, attachment: Attachment, pool: Pool = "backbone") -> None:
    attachment.before(site.patch_embed, AddFrame(prompts))
