"""One forward pass of a frozen backbone for images of many tasks: the same numbers as each task alone.

Nothing is attached to the backbone: blocks run in their parts (see `vpt.sites.anatomy`), so that they may be read by
several passes at once. A block without known parts is called as it is, with prompts among its tokens and a mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach import trunk
from vpt.attach.entering import Entering, entering, unknown_parts
from vpt.attach.fused import Fused, KeysValues
from vpt.attach.hooks import Pool
from vpt.attach.mixture import Mixture, longer
from vpt.attach.room import widen
from vpt.attach.weights import first_weights
from vpt.errors import OptionError, UnsupportedBackbone
from vpt.sites import block as blocks
from vpt.sites.clip_block import is_clip_block
from vpt.sites.site import Site, Told


class MixedBlock(Fused):
    """One block for one batch: tokens `[B, N + S, D]` in; out as many, or `[B, N, D]` where places are given up.

    places: S. read: keys and values of prompts that are only read. open: what may be read, see `Mixture.open`.
    keeps: whether the places are carried on.
    """

    def __init__(
        self, block: nn.Module, prefix: int, places: int, read: list[KeysValues] | None, open: Tensor | None,
        keeps: bool,
    ) -> None:  # fmt: skip
        super().__init__(block, None, 0, prefix, places)
        self._read, self._open, self._keeps = read, open, keeps

    def keys_values(self, batch: int, dtype: torch.dtype) -> list[KeysValues | None]:
        """Those that were given."""
        return super().keys_values(batch, dtype) if self._read is None else list(self._read)

    def without_prompts(self, x: Tensor, rows: int | None, dim: int = 1) -> Tensor:
        """The tokens that are answered for."""
        return x if rows is None and self._keeps else super().without_prompts(x, rows, dim)

    @property
    def before_patches(self) -> int:
        """How many of the tokens that are answered for stand before the patches."""
        return self.prefix + self.carried if self._keeps else self.prefix

    def scores(
        self, attention: Any, tokens: Tensor, asking: Tensor, brought: KeysValues | None, told: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """As those of one task, with what is not open closed."""
        q, k, v, bias = super().scores(attention, tokens, asking, brought, told)
        return q, k, v, bias if self._open is None else closed(bias, self._open, q.dtype)


def closed(bias: Tensor | None, open: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask or bias of scores, with what is not `open` `[B, 1, 1, K]` hidden too."""
    if bias is None:
        return torch.zeros(open.shape, dtype=dtype, device=open.device).masked_fill(~open, float("-inf"))
    return bias & open if bias.dtype == torch.bool else bias.masked_fill(~open, float("-inf"))


class SharedSite:
    """A site that the tasks of a batch share.

    Raises `UnsupportedBackbone` where a pass cannot be taken in steps, or blocks can be given no mask.
    """

    def __init__(self, site: Site) -> None:
        name, self.site = type(site.backbone).__name__, site
        if not trunk.whole(site):
            raise UnsupportedBackbone(f"this {name} has hooks or a forward of its own, which would not run")
        self._whole = unknown_parts(site)
        if self._whole and site.positions != "absolute":
            fault = blocks.fault(site.blocks[min(self._whole)])
            raise UnsupportedBackbone(f"tasks cannot share a pass of this {name}: {fault}")

    def entering(self, prompts: nn.Module | None, pool: Pool = "backbone") -> Entering:
        """What prompts come to here, as constants. Raises `OptionError` for prompts of no known kind."""
        return entering(prompts, self.site, pool, self._whole)

    def features(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, ...]:
        """What each of the backbone's heads reads, `[B, F]`, of images `[B, 3, H, W]`."""
        tokens, told = self._enter(images, mixture)
        last = self.site.depth - 1
        for layer in range(last):
            tokens = self._step(tokens, told, mixture, layer)
        rows = None if mixture.carries(last) or last in self._whole else trunk.rows_of(self.site)
        tokens = self._step(tokens, told, mixture, last, rows)
        carried = mixture.places(last) if mixture.carries(last) else 0
        return self.site.pooled(tokens, lambda normed: _reread(normed, mixture, self.site.prefix, carried))

    def looking(self, images: Tensor, mixture: Mixture) -> Tensor | None:
        """Where the first token looks in the last block: weights on the patches, mean over heads, `[B, N - prefix]`.

        A softmax over all that it reads, so that a row sums to at most 1. None without a class token or known parts.
        """
        last = self.site.depth - 1
        if last in self._whole or not self.site.prefix:
            return None
        tokens, told = self._enter(images, mixture)
        for layer in range(last):
            tokens = self._step(tokens, told, mixture, layer)
        tokens = self._seated(tokens, mixture, last)
        weights = first_weights(self._block(tokens, mixture, last), tokens, told[last]).mean(1)
        return weights[:, self.site.prefix + mixture.places(last) : tokens.shape[1]]

    def _enter(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, Told]:
        frames = mixture.frames
        if frames is not None and frames.shape[2:] != images.shape[2:]:
            raise OptionError(f"a task's frame is of {_size(frames)} pixels; images are of {_size(images)}")
        return self.site.enter(self.site.backbone, images if frames is None else images + frames)

    def _step(self, tokens: Tensor, told: Told, mixture: Mixture, layer: int, rows: int | None = None) -> Tensor:
        """What block `layer` answers: tokens with the places that are carried on, or the first `rows` alone."""
        tokens = self._seated(tokens, mixture, layer)
        if layer in self._whole:
            return self._called(tokens, told[layer], mixture, layer)
        return self._block(tokens, mixture, layer)(tokens, rows=rows, **told[layer])

    def _seated(self, tokens: Tensor, mixture: Mixture, layer: int) -> Tensor:
        """The tokens that block `layer` is given: prompts in their places, and what is added to patches."""
        prefix, places, new = self.site.prefix, mixture.places(layer), mixture.taking_places(layer)
        old = mixture.places(layer - 1) if layer and mixture.carries(layer - 1) else 0
        if new is not None or places != old:
            seats = _seats(tokens[:, prefix : prefix + old], places, new)
            tokens = torch.cat([tokens[:, :prefix], seats, tokens[:, prefix + old :]], dim=1)
        if (added := mixture.added(layer)) is not None:
            start = prefix + places
            if added.shape[1] not in (1, tokens.shape[1] - start):
                patches = tokens.shape[1] - start
                raise OptionError(f"a task adds to {added.shape[1]} patches; these images have {patches}")
            tokens = torch.cat([tokens[:, :start], tokens[:, start:] + added], dim=1)
        return tokens

    def _block(self, tokens: Tensor, mixture: Mixture, layer: int) -> MixedBlock:
        """Block `layer` for these tokens."""
        prefix, places = self.site.prefix, mixture.places(layer)
        open = mixture.open(layer, prefix, tokens.shape[1])
        return MixedBlock(
            self.site.blocks[layer], prefix, places, mixture.read(layer), open, mixture.carries(layer)
        )  # fmt: skip

    def _called(self, tokens: Tensor, told: dict[str, Any], mixture: Mixture, layer: int) -> Tensor:
        """As `_step` for a block whose parts are not known."""
        block, prefix, places = self.site.blocks[layer], self.site.prefix, mixture.places(layer)
        told = widen(told, tokens.shape[1] - places, prefix, places, tokens.device)
        if (open := mixture.open(layer, prefix, tokens.shape[1])) is not None:
            told = {**told, "attn_mask": _as_told(block, closed(told.get("attn_mask"), open, tokens.dtype), tokens)}
        out: Tensor = block(tokens, **told)
        return out if mixture.carries(layer) else torch.cat([out[:, :prefix], out[:, prefix + places :]], dim=1)


def _size(images: Tensor) -> str:
    return " x ".join(map(str, images.shape[2:]))


def _seats(old: Tensor, places: int, new: tuple[Tensor, Tensor] | None) -> Tensor:
    """`[B, places, D]`: what stood there, behind it zeros, and new prompts for the images that bring some."""
    kept = longer(old[:, :places], places)
    return kept if new is None else torch.where(new[1], new[0], kept)


def _as_told(block: nn.Module, mask: Tensor, tokens: Tensor) -> Tensor:
    """A mask as the block takes it: timm's per image, open_clip's per image and head, to be added."""
    if not is_clip_block(block):
        return mask
    attention: Any = block.attn
    return mask[:, 0].repeat_interleave(attention.num_heads, dim=0).expand(-1, tokens.shape[1], -1)


def _reread(normed: Tensor, mixture: Mixture, prefix: int, places: int) -> Tensor:
    """Tokens `[B, N, D]` after the last norm: of images whose task pools otherwise each is the mean that it reads."""
    tokens = torch.cat([normed[:, :prefix], normed[:, prefix + places :]], dim=1) if places else normed
    for number, task in enumerate(mixture.tasks):
        if task.pool == "backbone":
            continue
        rows, end = mixture.index == number, prefix + task.held[-1]
        own = normed[rows]
        parts = {"prompts": own[:, prefix:end], "patches": own[:, prefix + places :]}
        every = torch.cat([own[:, :end], own[:, prefix + places :]], dim=1)
        read = parts.get(task.pool, every).mean(1, keepdim=True)
        tokens = tokens.index_put((rows.nonzero()[:, 0],), read.expand(-1, tokens.shape[1], -1))
    return tokens
