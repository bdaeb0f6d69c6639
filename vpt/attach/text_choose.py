"""Which path computes learned texts, and how much of the fast one is exact for a model."""

from __future__ import annotations

from typing import Literal

from vpt.errors import OptionError, unknown
from vpt.sites import clip_attention, clip_block
from vpt.sites.clip_hf_text import EMBEDDED, HFTextSite
from vpt.sites.clip_text_site import TextSite

TextPath = Literal["auto", "plain", "fused"]
TEXT_PATHS: tuple[TextPath, ...] = ("auto", "plain", "fused")


def choose_text(path: str, site: TextSite, alone: str | None, deep: bool = False) -> tuple[str, str, bool]:
    """The path taken for what was asked, why, and whether a common start is computed once for all texts.

    alone: why the texts of this method have no start in common, or None where they have.
    deep: whether tokens enter later blocks, too.
    Raises `OptionError` for an unknown path, and for `fused` where it is not exact, with the reason.
    """
    if path not in TEXT_PATHS:
        raise unknown("path", path, TEXT_PATHS)
    if path == "plain":
        return "plain", "asked for", False
    if (fault := whole_fault(site) or _entire(site, deep)) is not None:
        if path == "fused":
            raise OptionError(f"path='fused' is not possible here: {fault}; accepted: 'auto', 'plain'")
        return "plain", fault, False
    if not site.ends:
        return "fused", "exact here: whole texts in chunks, since without a causal mask every token sees all", False
    if not site.causal:
        return "fused", "exact here: texts are cut at their ends, since the tower hides padding", False
    apart = alone or next((reason for block in site.blocks if (reason := clip_block.fault(block))), None)
    apart = apart or ("the transformer is hooked" if clip_attention.altered(site.tower.transformer) else None)
    if apart is not None:
        return "fused", f"exact here: texts are cut at their ends; no common start, since {apart}", False
    return "fused", "exact here: texts are cut at their ends, and their common start is computed once", True


def whole_fault(site: TextSite) -> str | None:
    """Why not even the tower's parts may be called one by one, or None: someone hooks what would be passed by."""
    own = "encode_text" in site.model.__dict__
    if own or (site.tower is not site.model and clip_attention.altered(site.tower)):
        return "the text tower has hooks or a forward of its own, which would not run"
    return None


def _entire(site: TextSite, deep: bool) -> str | None:
    """Why an encoder that runs as a whole must be given ids, or None where its embedded tokens do."""
    if not isinstance(site, HFTextSite):
        return None
    if site.kind not in EMBEDDED:
        return f"whether a {site.kind} numbers embedded tokens as it numbers ids is not known"
    return "tokens enter the blocks of a Hugging Face encoder by hooks" if deep else None
