"""The exact fast path of learned texts: the same numbers as `text_plain`, with less work and bounded memory.

Under a causal mask no token sees a later one, so texts are cut after the longest. Where all classes have the same
[start, context] in front, its keys and values are computed once per layer and read by all; per class only the name, the
full stop and the end are run. Texts go in chunks that are computed again in the backward pass, so that memory does not
grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vpt.attach.text_plain import put
from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_block import ANATOMY
from vpt.sites.clip_text import HFTextSite, TextSite

TOKENS_AT_ONCE = 2048
"""Most tokens in one chunk of texts."""

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layout:
    """What is computed of some texts.

    kept: the places `[N]` of the tokens that something read depends on; ascending, an appended class token the last.
    cut: how many of these are tokens of the texts themselves.
    read: which of the kept tokens pooling reads, `[T]`.
    shared: how many of the first are computed once for all texts; 0 for none.
    """

    kept: Tensor
    cut: int
    read: Tensor
    shared: int


def layout(site: TextSite, texts: ClassTexts, shares: bool) -> Layout:
    """What must be computed of `texts`. shares: whether a common start may be computed once."""
    ids, read = texts.ids, site.reads(texts.ids)
    cut = site.cut(ids)
    kept = torch.arange(cut, device=ids.device)
    if site.cls is not None:
        kept, read = torch.cat([kept, kept.new_tensor([ids.shape[1]])]), torch.full_like(read, cut)
    return Layout(kept, cut, read, texts.shared if shares else 0)


def encode(site: TextSite, texts: ClassTexts, contexts: Tensor, plan: Layout, deeper: Tensor | None = None) -> Tensor:
    """Features `[K, T, F]`, not normalised, of T texts with K contexts `[K, 1 or T, M, D]`.

    `plan.shared` needs contexts `[K, 1, M, D]`. deeper: what takes their places in the next blocks, `[J - 1, M, D]`.
    """
    count = len(contexts) * len(texts)
    chunk = max(1, TOKENS_AT_ONCE // (len(plan.kept) - plan.shared))
    prefix = _prefix(site, texts, contexts[:, 0], plan, deeper) if plan.shared else None

    def run(rows: Tensor) -> Tensor:
        k, t = rows // len(texts), rows % len(texts)
        if prefix is None:
            return _whole(site, texts, contexts[k, t if contexts.shape[1] > 1 else 0], t, plan, deeper)
        return _tails(site, texts, [(keys[k], values[k]) for keys, values in prefix], t, plan)

    found = _in_chunks(run, torch.arange(count, device=texts.ids.device).split(chunk), site)
    return found.view(len(contexts), len(texts), -1)


def _in_chunks(run: Callable[[Tensor], Tensor], chunks: tuple[Tensor, ...], site: TextSite) -> Tensor:
    if len(chunks) == 1:
        return run(chunks[0])
    if not torch.is_grad_enabled():
        return torch.cat([run(rows) for rows in chunks])
    drops = any(m.training and m.p for block in site.blocks for m in block.modules() if isinstance(m, nn.Dropout))
    found = [checkpoint(run, rows, use_reentrant=False, preserve_rng_state=drops) for rows in chunks]
    return torch.cat(found)


def _tokens(site: TextSite, ids: Tensor, plan: Layout) -> Tensor:
    """The kept tokens `[n, N, D]` of texts, without positions and contexts."""
    tokens = site.embed(ids[:, : plan.cut])
    if site.cls is not None:
        tokens = torch.cat([tokens, site.cls.to(tokens.dtype).expand(len(ids), 1, -1)], 1)
    return tokens


def _mask(site: TextSite, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor | None:
    """What is added to scores, `[R, N]` or `[n, R, N]`."""
    mask = site.mask(ids)
    return None if mask is None else mask[..., rows, :][..., columns]


def _whole(
    site: TextSite, texts: ClassTexts, contexts: Tensor, t: Tensor, plan: Layout, deeper: Tensor | None
) -> Tensor:
    """Features of the texts `t` `[n]`, each with a context of its own, by the tower's own blocks."""
    ids = texts.ids[t]
    tokens = put(_tokens(site, ids, plan), texts.slots[t], contexts)
    if isinstance(site, HFTextSite):  # runs as a whole
        return site.encode(tokens, ids[:, : plan.cut])
    tokens = tokens + site.positions()[plan.kept]
    mask = _mask(site, ids, plan.kept, plan.kept)
    if mask is not None and mask.dim() == 3:  # open_clip wants a mask per head
        mask = mask.repeat_interleave(site.heads, 0)
    if deeper is None:
        tokens = site.tower.transformer(tokens, attn_mask=mask)
    else:
        for layer, block in enumerate(site.blocks):
            tokens = block(_replaced(tokens, texts.slots[t], deeper, layer), attn_mask=mask)
    return site.leave(tokens[torch.arange(len(t), device=t.device), plan.read[t]])


def _replaced(tokens: Tensor, slots: Tensor, deeper: Tensor | None, layer: int) -> Tensor:
    """The tokens that enter block `layer`, where tokens of its own take the context's places."""
    return tokens if deeper is None or not 0 < layer <= len(deeper) else put(tokens, slots, deeper[layer - 1])


def _prefix(site: TextSite, texts: ClassTexts, contexts: Tensor, plan: Layout, deeper: Tensor | None) -> KeysValues:
    """Keys and values `[K, heads, shared, d]` of [start, context] in each block, for contexts `[K, M, D]`."""
    first, places = texts.ids[:1, : plan.shared], plan.kept[: plan.shared]
    slots = texts.slots[:1].expand(len(contexts), -1)
    tokens = put(site.embed(first).expand(len(contexts), -1, -1), slots, contexts) + site.positions()[places]
    mask = _mask(site, texts.ids[:1], places, places)
    found: KeysValues = []
    for layer, block in enumerate(site.blocks):
        tokens = _replaced(tokens, slots, deeper, layer)
        q, k, v = _project(block, tokens)
        found.append((k, v))
        if len(found) < site.depth:
            tokens = _close(block, tokens, q, k, v, mask)
    return found


def _tails(site: TextSite, texts: ClassTexts, prefix: KeysValues, t: Tensor, plan: Layout) -> Tensor:
    """Features of the texts `t` `[n]` from their own tokens alone, after a `prefix` `[n, heads, shared, d]`."""
    ids, own = texts.ids[t], plan.kept[plan.shared :]
    tokens = _tokens(site, ids, plan)[:, plan.shared :] + site.positions()[own]
    mask = _mask(site, ids, own, plan.kept)
    if mask is not None and mask.dim() == 3:
        mask = mask.unsqueeze(1)
    for block, (keys, values) in zip(site.blocks, prefix, strict=True):
        q, k, v = _project(block, tokens)
        k, v = torch.cat([keys.to(k.dtype), k], 2), torch.cat([values.to(v.dtype), v], 2)
        tokens = _close(block, tokens, q, k, v, mask)
    return site.leave(tokens[torch.arange(len(t), device=t.device), plan.read[t] - plan.shared])


def _project(block: Any, tokens: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values `[n, heads, N, d]` of the tokens that enter a block."""
    ((norm, attention),) = ANATOMY.attentions(block)
    return ANATOMY.parts.project(attention, norm(tokens), "qkv")


def _close(block: Any, tokens: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The block's output for the `tokens` `[n, R, D]` whose queries are `q`; `mask` is added to the scores."""
    parts, ((_, attention),) = ANATOMY.parts, ANATOMY.attentions(block)
    answer = parts.leave(attention, parts.attend(attention, q, k, v, mask), tokens)
    return ANATOMY.close(block, tokens, [answer])
