"""What prompts are compared with, of Hugging Face peft: LoRA, and the adapters it knows beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from vpt.errors import OptionError, unknown
from vpt.methods.layers import Layers
from vpt.methods.method import Learned, method
from vpt.methods.peft_layers import wrap
from vpt.methods.peft_targets import Targets, targeted
from vpt.prompts.tokens import check_positive, check_share
from vpt.sites.site import Site

KINDS: dict[str, dict[str, Any]] = {
    "c3a": {"block_size": 16, "init_weights": True},
    "delora": {},
    "fourierft": {"init_weights": True},
    "gralora": {"r": 8, "alpha": 16},
    "hira": {"r": 8},
    "hra": {},
    "ia3": {},
    "loha": {},
    "lokr": {},
    "miss": {"r": 8},
    "oft": {"oft_block_size": 16},
    "road": {"group_size": 16},
    "waveft": {"n_frequency": 1000},
}
"""Adapters of peft whose state is in their layers alone, with what differs here from peft's own settings.

All start with the backbone's own function; sizes are such that they fit the widths of vision transformers.
"""


@method("lora")
def lora(
    site: Site,
    generator: torch.Generator,
    rank: int = 8,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Targets = None,
    layers: Layers = "all",
    dora: bool = False,
    rslora: bool = False,
) -> Learned:
    """LoRA (arXiv:2106.09685), by peft: beside linear layers the product of two thin matrices, times alpha / rank.

    By default beside those that make queries and values, and with an alpha that equals the rank. Where one layer makes
    queries, keys and values (timm's `qkv`), the product is beside all of it: keys are adapted too.
    """
    settings = lora_settings(rank, alpha, dropout, dora, rslora)
    return _adapted(site, generator, "lora", settings, targets, layers)


def lora_settings(rank: int, alpha: float | None, dropout: float, dora: bool, rslora: bool) -> dict[str, Any]:
    """Fields of peft's configuration. Raises `OptionError` for what is not accepted."""
    check_positive("rank", rank)
    check_share("dropout", dropout)
    if alpha is not None and (not isinstance(alpha, int | float) or not 0 < alpha < math.inf):
        raise OptionError(f"alpha is {alpha!r}; accepted: a number above 0, or None for the rank")
    if wrong := [f"{name} is {flag!r}" for name, flag in (("dora", dora), ("rslora", rslora)) if flag not in (0, 1)]:
        raise OptionError(f"{'; '.join(wrong)}; accepted: true or false")
    return {
        "r": rank,
        "lora_alpha": rank if alpha is None else alpha,
        "lora_dropout": dropout,
        "use_dora": dora,
        "use_rslora": rslora,
    }


@method("adapter")
def adapter(
    site: Site,
    generator: torch.Generator,
    kind: str = "loha",
    targets: Targets = None,
    layers: Layers = "all",
    settings: Mapping[str, Any] | None = None,
) -> Learned:
    """Another of peft's adapters: kind is ia3, loha, oft, ...; settings are fields of peft's configuration."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if settings is not None and not isinstance(settings, Mapping):
        raise OptionError(f"settings is {settings!r}; accepted: fields of peft's configuration by name, or None")
    return _adapted(site, generator, kind, {**KINDS[kind], **(settings or {})}, targets, layers)


def _adapted(
    site: Site, generator: torch.Generator, kind: str, settings: Mapping[str, Any], targets: Targets, layers: Layers
) -> Learned:
    precise = kind == "lora"  # not all of the others take a layer in another precision than their own
    adapters = wrap(targeted(site, layers, targets), kind, settings, generator, precise)
    return Learned(modules=tuple(adapters), adapters=adapters, precise=precise)
