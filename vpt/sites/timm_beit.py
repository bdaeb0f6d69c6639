"""timm's `Beit`: BEiT, BEiT v2, data2vec; attention adds a bias per pair of positions."""

from __future__ import annotations

from typing import Any

from timm.models.beit import Beit

from vpt.sites.site import Reads, Site, keeps

MODULES = ("beit",)
"""timm modules whose every model this file covers."""


def site(model: Any) -> Site | None:
    """The site of a `Beit`, else None."""
    if not keeps(model, Beit, "forward_features", "forward_head"):
        return None
    reads: Reads = "patches" if model.global_pool == "avg" else "first" if model.global_pool else "all"
    return Site(model, "beit", model.num_prefix_tokens, model.global_pool, reads, "relative")
