"""The exact fast path: the same numbers as `hooks`, without computing what is thrown away.

A block whose answer at the prompt slots nobody reads needs of its prompts the keys and values alone. Prompts that enter
at that block depend on no image, so these are computed once per step, or once for all by `fold`; no prompt asks, and no
prompt goes through the MLP. In the last block only those tokens ask that pooling reads. Prompts whose outputs are
carried on (VPT-Shallow) enter as tokens, by the hooks, up to the last block that keeps them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach.attachment import Attachment
from vpt.attach.hooks import Enter, Pool
from vpt.attach.room import make_room, no_effect, with_gap
from vpt.prompts import Tokens
from vpt.sites import block as blocks
from vpt.sites.site import Site

KeysValues = tuple[Tensor, ...]


class Fused:
    """Stands in for the `forward` of one block that drops its prompts: tokens `[B, N (+ P), D]` to `[B, N, D]`.

    prompts: of the model; those for `layer` enter as keys and values. None reads a block as it is.
    carried: how many prompts the tokens already hold after the prefix; they are read, and asked for nothing.
    entry: what the block's own prompts go through before they join the tokens, if anything.
    """

    def __init__(
        self, block: nn.Module, prompts: Tokens | None, layer: int, prefix: int, carried: int,
        entry: nn.Module | None = None,
    ) -> None:  # fmt: skip
        self.block, self.layer, self.prefix, self.carried, self.entry = block, layer, prefix, carried, entry
        self.brings = prompts is not None and layer in prompts.layers
        self._prompts = prompts
        self._folded: list[KeysValues | None] | None = None
        self._folded_from: tuple[int, ...] = ()

    def __call__(self, x: Tensor, *others: None, rows: int | None = None, **told: Any) -> Tensor:
        """Run the block. rows: answer for the first so many tokens alone; None: for all but the prompts.

        others: keys, values and a mask of someone else's, which open_clip's image towers leave out.
        """
        anatomy, answers = blocks.anatomy(self.block), []
        parts = anatomy.parts
        brought = self.keys_values(x.shape[0], x.dtype)
        for (norm, attention), own in zip(anatomy.attentions(self.block), brought, strict=True):
            tokens = norm(x)
            asking = self.without_prompts(tokens, rows)
            q, k, v, bias = self.scores(attention, tokens, asking, own, told)
            answers.append(parts.leave(attention, parts.attend(attention, q, k, v, bias), asking))
        return anatomy.close(self.block, self.without_prompts(x, rows), answers)

    def without_prompts(self, x: Tensor, rows: int | None, dim: int = 1) -> Tensor:
        """The tokens that are answered for."""
        if rows is not None:
            return x.narrow(dim, 0, rows)
        if not self.carried:
            return x
        after = self.prefix + self.carried
        return torch.cat([x.narrow(dim, 0, self.prefix), x.narrow(dim, after, x.shape[dim] - after)], dim)

    @property
    def before_patches(self) -> int:
        """How many of the tokens that are answered for stand before the patches."""
        return self.prefix

    def scores(
        self, attention: Any, tokens: Tensor, asking: Tensor, brought: KeysValues | None, told: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries of `asking` `[B, R, D]`, keys and values of `tokens` and prompts, and what biases their scores."""
        parts, rope = blocks.anatomy(self.block).parts, told.get("rope")
        (q,) = parts.project(attention, asking, "q")
        k, v = parts.project(attention, tokens, "kv")
        q = parts.rotate(attention, q, rope, self.before_patches)
        k = parts.rotate(attention, k, rope, self.prefix + self.carried).type_as(v)
        bias = self.bias(attention, told, tokens.shape[1], q.shape[2], tokens.device)
        if brought is not None:
            k, v = _beside(k, brought[0]), _beside(v, brought[1])
            bias = None if bias is None else _open_columns(bias, brought[0].shape[2])
        return q, k, v, bias

    def bias(self, attention: Any, told: dict[str, Any], tokens: int, rows: int, device: torch.device) -> Tensor | None:
        """Mask or bias `[..., R, N + carried]`: prompts are open to all, and without bias."""
        own = blocks.anatomy(self.block).parts.own_bias(attention, told, tokens - self.carried, device)
        if own is None:
            return None
        if self.carried:
            own = with_gap(own, self.prefix, self.carried, no_effect(own))
        if own.shape[-2] in (1, rows):  # one row for all, or every token asks
            return own
        return self.without_prompts(own, rows if rows <= self.prefix else None, dim=-2)

    def keys_values(self, batch: int, dtype: torch.dtype) -> list[KeysValues | None]:
        """Keys and values `[1 or B, heads, P, d]` of the block's own prompts, for each of its attentions."""
        pairs = blocks.anatomy(self.block).attentions(self.block)
        if self._prompts is None or not self.brings:
            return [None] * len(pairs)
        if self._folded is not None and not torch.is_grad_enabled() and self._folded_from == self._values():
            return self._folded
        prompts = self._prompts(self.layer, batch).to(dtype)
        prompts = prompts if self.entry is None else self.entry(prompts)
        parts = blocks.anatomy(self.block).parts
        return [parts.project(attention, norm(prompts), "kv") for norm, attention in pairs]

    def fold(self, dtype: torch.dtype) -> None:
        """Compute the prompts' keys and values now, for every pass without gradients until `unfold`."""
        self._folded = None
        with torch.no_grad():
            self._folded = self.keys_values(1, dtype)
        self._folded_from = self._values()

    def _values(self) -> tuple[int, ...]:
        """What changes whenever the prompts are changed in place; a compiled pass does not look."""
        if self._prompts is None or torch.compiler.is_compiling():
            return self._folded_from
        return tuple(0 if p.is_inference() else p._version for p in self._prompts.parameters())

    def unfold(self) -> None:
        """Go back to computing them in every pass."""
        self._folded = None


def _beside(own: Tensor, prompts: Tensor) -> Tensor:
    """`[B, heads, N, d]` and `[1 or B, heads, P, d]` to `[B, heads, N + P, d]`."""
    return torch.cat([own, prompts.to(own.dtype).expand(own.shape[0], -1, -1, -1)], dim=2)


def _open_columns(bias: Tensor, count: int) -> Tensor:
    """`[..., R, N]` to `[..., R, N + count]`: everyone may look there."""
    opened = bias.new_full((*bias.shape[:-1], count), no_effect(bias))
    return torch.cat([bias, opened], -1)


def fault(prompts: nn.Module | None, site: Site, pool: Pool = "backbone") -> str | None:
    """Why these prompts take the hooks, or None where this path is exact."""
    if not isinstance(prompts, Tokens):
        return "no prompts that are tokens"
    if not prompts.layers:
        return "no block is prompted"
    if pool != "backbone":
        return f"pool={pool!r} reads what the prompts become"
    dropping = (site.blocks[layer] for layer in range(site.depth) if _drops(prompts, layer, site.depth))
    return next((reason for block in dropping if (reason := blocks.fault(block))), None)


def _drops(prompts: Tokens, layer: int, depth: int) -> bool:
    """Whether nothing reads what block `layer` answers at the prompt slots."""
    return layer >= prompts.layers[0] and (layer + 1 in prompts.layers or layer == depth - 1)


def attach(prompts: Any, site: Site, attachment: Attachment) -> list[Fused]:
    """Join `prompts` to `site` where there is no `fault`; every change goes through `attachment`."""
    found = []
    for layer in range(prompts.layers[0], site.depth):
        block, brings = site.blocks[layer], layer in prompts.layers
        if _drops(prompts, layer, site.depth):
            entry = None if layer else site.entry
            found.append(Fused(block, prompts, layer, site.prefix, 0 if brings else prompts.length, entry))
            attachment.set(block, "forward", found[-1])
        else:
            make_room(attachment, site, block, prompts.length)
            attachment.before(block, Enter(prompts, layer, site.prefix, None if layer else site.entry))
    return found
