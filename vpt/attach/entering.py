"""What the prompts of one task come to on one site, as constants: what is read, what travels, what is added.

A block whose answer at the prompt slots nobody reads needs of its prompts the keys and values alone; those whose
answers are carried on, or pooled at the end, stand among the tokens. Letters: P prompts of the task, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach.fused import Fused, KeysValues
from vpt.attach.hooks import Pool
from vpt.errors import OptionError
from vpt.prompts import AddedPrompts, FramePrompts, Tokens
from vpt.sites import block as blocks
from vpt.sites.site import Site


@dataclass(frozen=True)
class Entering:
    """All that one task brings into a backbone; nothing in it changes.

    held: how many prompts are among the tokens of each block, and after the last one; empty stands for none.
    tokens: by block, prompts `[P, D]` that take their places among its tokens.
    read: by block, keys and values `[heads, P, d]` of prompts that are only read, for each of its attentions.
    added: by block, what is added to the patch tokens, `[patches or 1, D]`.
    frame: what is added to images, `[3, H, W]`.
    pool: what is read at the end, see `vpt.attach.hooks.POOLS`.
    """

    held: tuple[int, ...] = ()
    tokens: Mapping[int, Tensor] = field(default_factory=dict)
    read: Mapping[int, list[KeysValues]] = field(default_factory=dict)
    added: Mapping[int, Tensor] = field(default_factory=dict)
    frame: Tensor | None = None
    pool: Pool = "backbone"

    def to(self, device: torch.device) -> Entering:
        """The same on another device."""
        move: Callable[[Any], Any] = lambda value: _mapped(value, device)  # noqa: E731
        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})

    @property
    def bytes(self) -> int:
        """Memory of its tensors."""
        pairs = [tensor for layer in self.read.values() for pair in layer for tensor in pair]
        own = [*self.tokens.values(), *pairs, *self.added.values(), *([] if self.frame is None else [self.frame])]
        return sum(tensor.nbytes for tensor in own)


NOTHING = Entering()
"""A backbone as it is."""


def _mapped(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _mapped(inner, device) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(inner, device) for inner in value)
    return value


def unknown_parts(site: Site) -> frozenset[int]:
    """The blocks of a site whose parts are not known: they take prompts among their tokens alone."""
    return frozenset(layer for layer, block in enumerate(site.blocks) if blocks.fault(block))


@torch.no_grad()
def entering(
    prompts: nn.Module | None, site: Site, pool: Pool = "backbone", whole: frozenset[int] = frozenset()
) -> Entering:
    """What `prompts`, in evaluation mode, come to on `site`, in the precision of its backbone.

    whole: the `unknown_parts` of the site. Raises `OptionError` for prompts that are of no known kind.
    """
    return NOTHING if prompts is None else _constants(prompts.eval(), site, pool, whole)


@singledispatch
def _constants(prompts: nn.Module, site: Site, pool: Pool, whole: frozenset[int]) -> Entering:
    raise OptionError(f"prompts of type {type(prompts).__name__} cannot be read as constants")


@_constants.register
def _(prompts: Tokens, site: Site, pool: Pool, whole: frozenset[int]) -> Entering:
    if not prompts.layers:
        return NOTHING
    first, depth = prompts.layers[0], site.depth
    dropped = {
        layer for layer in range(first, depth)
        if layer not in whole and (layer + 1 in prompts.layers or (layer == depth - 1 and pool == "backbone"))
    }  # fmt: skip
    read_alone = dropped & set(prompts.layers)
    held = [prompts.length if layer >= first and layer not in read_alone else 0 for layer in range(depth)]
    held.append(0 if pool == "backbone" else prompts.length)
    entry = {0: site.entry}
    return Entering(
        tuple(held),
        {n: _tokens(prompts, site, n, entry.get(n)) for n in prompts.layers if n not in read_alone},
        {n: _keys_values(prompts, site, n, entry.get(n)) for n in read_alone},
        pool=pool,
    )


@_constants.register
def _(prompts: AddedPrompts, site: Site, pool: Pool, whole: frozenset[int]) -> Entering:
    return Entering(added={layer: prompts(layer)[0].to(site.dtype) for layer in prompts.layers})


@_constants.register
def _(prompts: FramePrompts, site: Site, pool: Pool, whole: frozenset[int]) -> Entering:
    return Entering(frame=prompts().to(site.dtype))


def _tokens(prompts: Tokens, site: Site, layer: int, entry: nn.Module | None) -> Tensor:
    tokens: Tensor = prompts(layer, 1).to(site.dtype)
    tokens = tokens if entry is None else entry(tokens)
    return tokens[0].clone()


def _keys_values(prompts: Tokens, site: Site, layer: int, entry: nn.Module | None) -> list[KeysValues]:
    brought = Fused(site.blocks[layer], prompts, layer, site.prefix, 0, entry).keys_values(1, site.dtype)
    return [tuple(part[0].clone() for part in pair) for pair in brought if pair is not None]
