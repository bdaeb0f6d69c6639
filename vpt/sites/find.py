"""Which site a model is, or one clear error."""

from __future__ import annotations

from torch import nn

from vpt.errors import UnsupportedBackbone
from vpt.sites import timm_beit, timm_eva, timm_vit
from vpt.sites.site import Site

FAMILIES = (timm_vit, timm_eva, timm_beit)
"""One file per family, each with `site(model) -> Site | None` and the timm `MODULES` it covers."""

MODULES = tuple(name for family in FAMILIES for name in family.MODULES)
"""The timm modules whose every model takes prompts."""


def find(model: nn.Module) -> Site:
    """The site of `model`.

    Raises `UnsupportedBackbone` for anything that is not a stock model of a supported family.
    """
    for family in FAMILIES:
        site: Site | None = family.site(model)
        if site is not None:
            return site
    given = f"{type(model).__module__}.{type(model).__qualname__}"
    supported = ", ".join(f"timm.models.{name}" for name in MODULES)
    raise UnsupportedBackbone(
        f"prompts need a stock transformer; this model is a {given}. Supported: every model of {supported}, "
        "and subclasses that leave their forward methods alone."
    )
