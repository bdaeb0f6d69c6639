"""What prompts are compared with: linear probe, full fine-tuning, bias, partial, MLP head."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import nn

from vpt.errors import OptionError
from vpt.methods.method import Learned, method, parameters_under
from vpt.prompts.tokens import check_positive
from vpt.sites.site import Site


@method("linear")
def linear(site: Site, generator: torch.Generator) -> Learned:
    """Linear probe: the head alone."""
    return Learned()


@method("full")
def full(site: Site, generator: torch.Generator) -> Learned:
    """Full fine-tuning: every tensor of the backbone, and the head."""
    names = frozenset(name for name, _ in site.backbone.named_parameters())
    return Learned(parameters=names, modules=("",))


@method("bias")
def bias(site: Site, generator: torch.Generator) -> Learned:
    """BitFit (arXiv:2106.10199): every bias of the backbone, and the head."""
    names = (name for name, _ in site.backbone.named_parameters())
    return Learned(parameters=frozenset(name for name in names if name.rsplit(".", 1)[-1].endswith("bias")))


@method("partial")
def partial_k(site: Site, generator: torch.Generator, blocks: int = 1) -> Learned:
    """Partial-k: the last k blocks, the final norm, and the head."""
    if not isinstance(blocks, int) or not 1 <= blocks <= site.depth:
        raise OptionError(f"blocks is {blocks!r}; accepted: 1 to {site.depth}, the depth of this backbone")
    own = {name for name, _ in site.backbone.named_children()}
    modules = [f"blocks.{i}" for i in range(site.depth - blocks, site.depth)]
    modules += [name for name in ("norm", "fc_norm", "attn_pool") if name in own]
    return Learned(parameters=parameters_under(site, modules), modules=tuple(modules))


@method("mlp")
def mlp(site: Site, generator: torch.Generator, layers: int = 3, hidden: int | None = None) -> Learned:
    """Mlp-k: a head of k layers on the frozen features."""
    check_positive("layers", layers)
    if hidden is not None:
        check_positive("hidden", hidden)
    return Learned(head=partial(mlp_head, layers, hidden))


def mlp_head(layers: int, hidden: int | None, features: int, classes: int) -> nn.Module:
    """k linear layers with GELU between them, `[B, features]` to `[B, C]`."""
    widths = [features] + [hidden or features] * (layers - 1)
    steps = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.GELU())]
    return nn.Sequential(*steps, nn.Linear(widths[-1], classes))
