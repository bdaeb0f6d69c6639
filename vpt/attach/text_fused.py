"""The exact fast path of learned texts: the same numbers as `text_plain`, with less work and bounded memory.

Under a causal mask no token sees a later one, so texts are cut at their ends, in groups of similar lengths. Where all
classes have the same [start, context] in front, its keys and values are computed once per layer and read by all; per
class only the name, the full stop and the end are run. Texts go in portions that are computed again in the backward
pass, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vpt.attach.text_layout import Layout, Portion, kept_for_backward, portions
from vpt.attach.text_plain import put
from vpt.prompts.class_texts import ClassTexts
from vpt.sites.clip_block import ANATOMY
from vpt.sites.clip_hf_text import HFTextSite
from vpt.sites.clip_text_site import TextSite

TOKENS_AT_ONCE = 4096
"""Most tokens in one portion of texts, and in all that are kept for the backward pass."""

KeysValues = list[tuple[Tensor, Tensor]]


def encode(
    site: TextSite, texts: ClassTexts, contexts: Tensor, plan: Sequence[Layout], deeper: Tensor | None = None
) -> Tensor:
    """Features `[K, T, F]`, not normalised, of T texts with K contexts `[K, 1 or T, M, D]`.

    A common start needs contexts `[K, 1, M, D]`. deeper: what takes their places in the next blocks, `[J - 1, M, D]`.
    """
    prefix = _prefix(site, texts, contexts[:, 0], plan[0], deeper) if plan[0].shared else None

    def run(portion: Portion) -> Tensor:
        if prefix is None:
            return _whole(site, texts, contexts, portion, deeper)
        return _tails(site, texts, prefix, portion)

    asked = portions(plan, len(contexts), TOKENS_AT_ONCE)
    found = torch.cat(_run_all(run, asked, site))
    place = torch.cat([portion.contexts * len(texts) + portion.texts for portion in asked])
    return found[place.argsort()].view(len(contexts), len(texts), -1)


def _run_all(run: Callable[[Portion], Tensor], asked: Sequence[Portion], site: TextSite) -> list[Tensor]:
    """Each portion's answer; with gradients, all but the last few are computed again in the backward pass."""
    if not torch.is_grad_enabled():
        return [run(portion) for portion in asked]
    again = len(asked) - kept_for_backward(asked, TOKENS_AT_ONCE)
    drops = any(m.training and m.p for block in site.blocks for m in block.modules() if isinstance(m, nn.Dropout))
    found = [checkpoint(run, portion, use_reentrant=False, preserve_rng_state=drops) for portion in asked[:again]]
    return found + [run(portion) for portion in asked[again:]]


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


def _whole(site: TextSite, texts: ClassTexts, contexts: Tensor, portion: Portion, deeper: Tensor | None) -> Tensor:
    """Features `[n, F]` of texts with a context each, by the tower's own blocks."""
    t, plan = portion.texts, portion.layout
    ids, slots = texts.ids[t], texts.slots[t]
    context = contexts[portion.contexts, t if contexts.shape[1] > 1 else 0]
    tokens = put(_tokens(site, ids, plan), slots, context)
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
            tokens = block(_replaced(tokens, slots, deeper, layer), attn_mask=mask)
    return site.leave(_at(tokens, plan.read[portion.rows]).squeeze(1))


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


def _tails(site: TextSite, texts: ClassTexts, prefix: KeysValues, portion: Portion) -> Tensor:
    """Features `[n, F]` of texts from their own tokens alone, after a `prefix` `[K, heads, shared, d]` per block."""
    plan = portion.layout
    ids, own, read = texts.ids[portion.texts], plan.kept[plan.shared :], plan.read[portion.rows] - plan.shared
    tokens = _tokens(site, ids, plan)[:, plan.shared :] + site.positions()[own]
    mask = _mask(site, ids, own, plan.kept)
    if mask is not None and mask.dim() == 3:
        mask = mask.unsqueeze(1)
    for layer, (block, (keys, values)) in enumerate(zip(site.blocks, prefix, strict=True)):
        q, k, v = _project(block, tokens)
        k, v = _after(keys, k, portion), _after(values, v, portion)
        if layer == site.depth - 1:  # of its answers only those that pooling reads are needed
            tokens, q = _at(tokens, read), _at(q.transpose(1, 2), read).transpose(1, 2)
            mask = None if mask is None else _rows(mask, read)
        tokens = _close(block, tokens, q, k, v, mask)
    return site.leave(tokens.squeeze(1))


def _after(prefix: Tensor, own: Tensor, portion: Portion) -> Tensor:
    """Keys or values `[n, heads, shared + N, d]` of the prefix `[K, heads, shared, d]` and of a text's own tokens."""
    one = len(prefix) == 1
    before = prefix.expand(len(own), -1, -1, -1) if one else prefix[portion.contexts]
    return torch.cat([before.to(own.dtype), own], 2)


def _at(tokens: Tensor, read: Tensor) -> Tensor:
    """The token `read` `[n]` of each row `[n, N, ...]`, as `[n, 1, ...]`."""
    return tokens[torch.arange(len(read), device=read.device), read].unsqueeze(1)


def _rows(mask: Tensor, read: Tensor) -> Tensor:
    """The row of `mask` `[R, N]` or `[n, 1, R, N]` for the token `read` `[n]` of each text: `[n, 1, 1, N]`."""
    if mask.dim() == 2:
        return mask[read][:, None, None]
    return _at(mask.squeeze(1), read).unsqueeze(1)


def _project(block: Any, tokens: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values `[n, heads, N, d]` of the tokens that enter a block."""
    ((norm, attention),) = ANATOMY.attentions(block)
    return ANATOMY.parts.project(attention, norm(tokens), "qkv")


def _close(block: Any, tokens: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The block's output for the `tokens` `[n, R, D]` whose queries are `q`; `mask` is added to the scores."""
    parts, ((_, attention),) = ANATOMY.parts, ANATOMY.attentions(block)
    answer = parts.leave(attention, parts.attend(attention, q, k, v, mask), tokens)
    return ANATOMY.close(block, tokens, [answer])
