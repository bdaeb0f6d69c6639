"""What the tensors alone do not tell of an open_clip model, tower by tower."""

from __future__ import annotations

from typing import Any

from torch import nn

from vpt.sites.clip_hf_text import HFTextSite
from vpt.sites.clip_text import text_site
from vpt.sites.clip_text_site import TextSite


def clip_architecture(model: Any) -> dict[str, Any]:
    """Facts of both towers, JSON-able, in names that do not change with open_clip's versions."""
    site = text_site(model)
    towers = {"image": _image_tower(model.visual), "text": _text_tower(site)}
    return {
        "class": type(model).__name__,
        "family": "open_clip",
        "features": site.features,
        **{f"{tower} {key}": value for tower, facts in towers.items() for key, value in facts.items()},
    }


def _text_tower(site: TextSite) -> dict[str, Any]:
    facts = {
        "depth": site.depth,
        "width": site.width,
        "heads": site.heads,
        "activation": _activation(site.blocks[0]),
        "length": site.context_length,
        "vocabulary": site.vocabulary,
        "pooling": site.pooling,
        "causal": site.causal,
        "end": site.eos_id if site.pooling == "eos" else None,
        "padding": site.pad_id,
    }
    return {**facts, "kind": site.kind} if isinstance(site, HFTextSite) else facts


def _image_tower(visual: Any) -> dict[str, Any]:
    """Of open_clip's own vision transformers and ResNets, and of timm models in it; None for what one does not have."""
    trunk: Any = getattr(visual, "trunk", visual)  # a timm model stands inside
    blocks = list(getattr(getattr(trunk, "transformer", trunk), "resblocks", getattr(trunk, "blocks", ())))
    size = getattr(visual, "image_size", None)
    return {
        "class": type(trunk).__name__,
        "size": [size, size] if isinstance(size, int) else size and [int(pixels) for pixels in size],
        "depth": len(blocks),
        "heads": next((int(m.num_heads) for m in trunk.modules() if hasattr(m, "num_heads")), None),
        "activation": _activation(blocks[0]) if blocks else None,
        "pooling": getattr(trunk, "pool_type", getattr(trunk, "global_pool", None)),
        "normalised after pooling": getattr(trunk, "final_ln_after_pool", None),
    }


_PASSED = (nn.Identity, nn.Dropout, nn.ModuleDict, nn.ParameterDict)
"""What leaves tokens as they are in eval, and the empty containers of adapters."""


def _activation(block: Any) -> str | None:
    """The class of the first module in a block's MLP that neither holds tensors or modules nor is left out in eval.

    Of Hugging Face's blocks, which name their MLPs as they like, the first in the block.
    """
    plain = (m for m in getattr(block, "mlp", block).modules() if not [*m.children(), *m.parameters()])
    return next((type(m).__name__ for m in plain if not isinstance(m, _PASSED)), None)
