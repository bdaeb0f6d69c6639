"""The head: fresh where the classes differ, else a copy of the backbone's own, so that the original stays as it is."""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import nn

from vpt.errors import OptionError, unknown
from vpt.methods.method import Learned, linear_head
from vpt.sites.site import Site

HeadInit = Literal["auto", "zeros", "paper", "normal", "keep"]
HEAD_INITS: tuple[HeadInit, ...] = ("auto", "zeros", "paper", "normal", "keep")
"""auto: keep where the classes agree, else zeros. paper: kaiming-normal fan-out, bias -ln 99."""


def heads(
    site: Site, learned: Learned, num_classes: int | None, init: HeadInit, generator: torch.Generator
) -> dict[str, nn.Module]:
    """The modules that replace the backbone's heads, by name; empty where it has none and none was asked for."""
    if init not in HEAD_INITS:
        raise unknown("head_init", init, HEAD_INITS)
    classes = site.num_classes if num_classes is None else num_classes
    if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 1):
        raise OptionError(f"num_classes is {num_classes!r}; accepted: 1 or more, or None for the backbone's own")
    if classes == 0:
        return {}
    keeps = classes == site.num_classes and init in ("auto", "keep") and learned.head is linear_head
    if init == "keep" and not keeps:
        raise OptionError(f"head_init='keep' needs the backbone's own {site.num_classes} classes; asked for {classes}")
    if keeps:
        return {name: copy.deepcopy(site.backbone.get_submodule(name)) for name in site.heads}
    return {name: _fresh(site, learned, classes, init, generator) for name in site.heads}


def _fresh(site: Site, learned: Learned, classes: int, init: HeadInit, generator: torch.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # torch's own layer initialisation must not touch the user's global seed
        torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        head = learned.head(site.features, classes)
    last = head if isinstance(head, nn.Linear) else [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        if init in ("auto", "zeros"):
            nn.init.zeros_(last.weight)
        else:
            std = math.sqrt(2 / classes) if init == "paper" else 0.02
            last.weight.normal_(0, std, generator=generator)
        nn.init.constant_(last.bias, -math.log(99) if init == "paper" else 0.0)
    reference = next(site.backbone.parameters())
    return head.to(reference.device, reference.dtype)
