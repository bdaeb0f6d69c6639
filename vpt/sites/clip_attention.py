"""open_clip's attentions in parts (see `vpt.sites.anatomy.Parts`).

Both that open_clip has had are known: torch's `MultiheadAttention`, and its own `Attention` with a packed
`in_proj_weight`; and either of them behind adapters, `Unpacked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def fault(attention: Any) -> str | None:
    """Why `attention` cannot be taken apart, or None where it can."""
    if isinstance(attention, Unpacked) and not altered(attention):
        return fault(attention.base_layer)
    if altered(attention):
        return f"a {type(attention).__name__} has hooks or a forward of its own, which would not run"
    if not is_packed(attention):
        return f"no parts are known of {type(attention).__name__}"
    if type(attention.out_proj) not in (nn.Linear, NonDynamicallyQuantizableLinear):
        return f"its projection is a {type(attention.out_proj).__name__}, not torch's Linear"
    if type(attention) is nn.MultiheadAttention:
        plain = attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn
        return None if plain else "its attention has keys or values of other widths, or of its own"
    return None if attention.logit_scale is None else "its attention is a scaled cosine"


def is_packed(module: nn.Module) -> bool:
    """Whether the module is one of the attentions that keep queries, keys and values in one matrix."""
    from open_clip.transformer import Attention

    return type(module) in (nn.MultiheadAttention, Attention)


def altered(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class says: hooks, or a forward of this one instance."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def project(attention: Any, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
    """The `parts` (a run of `"qkv"`) of tokens, with the model's own query and key norms."""
    own = _own(attention)
    found = attention.project(tokens, parts) if own is not attention else _packed(own, tokens, parts)
    return tuple(_norm(own, part, x) for part, x in zip(parts, found, strict=True))


def _packed(attention: Any, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
    return F.linear(tokens, *_rows(attention, parts)).chunk(len(parts), -1)


def _rows(attention: Any, parts: str) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the `parts` (a run of `"qkv"`) in an attention's packed projection."""
    width = len(attention.in_proj_weight) // 3
    start = "qkv".index(parts[0]) * width
    rows = slice(start, start + len(parts) * width)
    bias = attention.in_proj_bias
    return attention.in_proj_weight[rows], None if bias is None else bias[rows]


def _own(attention: Any) -> Any:
    """open_clip's module itself."""
    return attention.base_layer if isinstance(attention, Unpacked) else attention


def _norm(attention: Any, part: str, x: Tensor) -> Tensor:
    x = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    norm = getattr(attention, f"ln_{part}", None)
    out: Tensor = x if norm is None else norm(x)
    return out


def rotate(attention: Any, x: Tensor, rope: Tensor | None, prefix: int) -> Tensor:
    """`x`: none of open_clip's attentions rotates."""
    return x


def own_bias(attention: Any, told: dict[str, Any], tokens: int, device: torch.device) -> Tensor | None:
    """The mask that the block is told, if any."""
    found: Tensor | None = told.get("attn_mask")
    return found


def attend(attention: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """What each query reads, `[B, heads, R, d]`."""
    bias = None if bias is None else bias.to(q.dtype)
    read = F.scaled_dot_product_attention(q.type_as(v), k.type_as(v), v, attn_mask=bias)
    scale = getattr(_own(attention), "head_scale", None)
    return read if scale is None else read * scale


def leave(attention: Any, read: Tensor, tokens: Tensor) -> Tensor:
    """From what the queries of `tokens` `[B, R, D]` read to the attention's answer `[B, R, D]`."""
    out = read.transpose(1, 2).flatten(2)
    if hasattr(_own(attention), "ln_inner"):
        out = _own(attention).ln_inner(out)
    answer: Tensor = attention.out_proj(out)
    return answer


class Rows(nn.Module):
    """The linear layer that one of `"q"`, `"k"`, `"v"` is in an attention's packed projection; owns no tensor."""

    def __init__(self, attention: nn.Module, part: str) -> None:
        super().__init__()
        self._attention, self.part = (attention,), part  # in a tuple: it is the backbone's

    @property
    def weight(self) -> Tensor:
        """As `nn.Linear`'s, `[D, D]`: a view of the packed one."""
        return _rows(*self._attention, self.part)[0]

    @property
    def bias(self) -> Tensor | None:
        """As `nn.Linear`'s, `[D]` or None."""
        return _rows(*self._attention, self.part)[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., D]` to `[..., D]`."""
        return F.linear(tokens, self.weight, self.bias)


class Unpacked(nn.Module):
    """Stands in for a packed attention, which it holds as `base_layer`, and has other modules project.

    projections: by `"q"`, `"k"`, `"v"` and `"out_proj"` what answers in their places; what is not named stays packed.
    The attention must have no `fault`. Its own dropout stays out of it, as it does in eval.
    """

    def __init__(self, attention: nn.Module, projections: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.base_layer: Any = attention
        self.projections = nn.ModuleDict(dict(projections))

    @property
    def num_heads(self) -> int:
        """Heads of the attention."""
        return int(self.base_layer.num_heads)

    @property
    def out_proj(self) -> nn.Module:
        """What projects what was read."""
        if "out_proj" in self.projections:
            return self.projections["out_proj"]
        found: nn.Module = self.base_layer.out_proj
        return found

    def project(self, tokens: Tensor, parts: str) -> tuple[Tensor, ...]:
        """The `parts` (any of `"qkv"`) of tokens, `[..., D]` each, before norms."""
        own, new = self.base_layer, self.projections
        return tuple(new[p](tokens) if p in new else F.linear(tokens, *_rows(own, p)) for p in parts)

    def forward(self, x: Tensor, *others: Tensor, attn_mask: Tensor | None = None, need_weights: bool = False) -> Any:
        """As either of open_clip's: `x` asks itself; a mask is `[N, N]` or, one per head, `[B * heads, N, N]`."""
        tokens = x if getattr(self.base_layer, "batch_first", True) else x.transpose(0, 1)
        q, k, v = project(self, tokens, "qkv")
        answer = leave(self, attend(self, q, k, v, _added(attn_mask, q)), tokens)
        answer = answer if tokens is x else answer.transpose(0, 1)
        return (answer, None) if isinstance(self.base_layer, nn.MultiheadAttention) else answer


def _added(mask: Tensor | None, q: Tensor) -> Tensor | None:
    """What a mask adds to the scores of queries `[B, heads, N, d]`: it as it is, or -inf where a boolean one hides."""
    if mask is None:
        return None
    mask = mask.unflatten(0, q.shape[:2]) if mask.dim() == 3 else mask
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask, float("-inf")) if mask.dtype == torch.bool else mask
