"""`vpt.tune`: freeze, attach, replace the head, and answer with a module that knows what it learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vpt.attach import choose
from vpt.methods.heads import HeadInit, heads
from vpt.methods.method import build
from vpt.methods.tuned import Tuned
from vpt.sites import find


def tune(
    model: nn.Module,
    method: str,
    *,
    num_classes: int | None = None,
    path: str = "auto",
    seed: int = 0,
    head_init: HeadInit = "auto",
    **options: Any,
) -> Tuned:
    """Prepare a stock timm model for learning one task with the named method.

    Parameters
    ----------
    model: a stock timm model; it is not copied, and `Tuned.detach()` gives it back bit for bit.
    method: a name from `vpt.methods.names()`, e.g. `"deep"`; `options` are that method's.
    num_classes: classes C of the task; None keeps the model's own (features where it has no head).
    path: `"fused"` computes what `"hooks"` does with less work; `"auto"` takes it wherever it is exact.
    seed: of prompts and head; the global random state is neither read nor changed.
    head_init: see `vpt.methods.heads.HEAD_INITS`.

    Raises `UnsupportedBackbone` for a model without a site, and `OptionError` for a wrong method or option; the
    model is then as it was.
    """
    site = find(model)
    learned, full_options = build(method, site, seed, options)
    taken, reason = choose(path, learned.prompts, site, learned.pool)
    generator = torch.Generator().manual_seed(seed + 1)
    new_heads = heads(site, learned, num_classes, head_init, generator)
    asked = {**full_options, "seed": seed, "head_init": head_init}
    return Tuned(site, learned, new_heads, method=method, options=asked, path=taken, reason=reason)
