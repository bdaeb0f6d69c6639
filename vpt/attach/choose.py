"""Which path computes the prompts: the plain one, or an exact shortcut where there is one."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vpt.attach import fused
from vpt.attach.hooks import Pool
from vpt.errors import OptionError, unknown
from vpt.sites.site import Site

Path = Literal["auto", "hooks", "fused"]
PATHS: tuple[Path, ...] = ("auto", "hooks", "fused")


def choose(path: str, prompts: nn.Module | None, site: Site, pool: Pool = "backbone") -> tuple[str, str]:
    """The path taken for what was asked, and why.

    Raises `OptionError` for an unknown path, and for `fused` where it is not exact, with the reason.
    """
    if path not in PATHS:
        raise unknown("path", path, PATHS)
    if path == "hooks":
        return "hooks", "asked for"
    fault = fused.fault(prompts, site, pool)
    if fault is None:
        return "fused", "exact here"
    if path == "fused":
        raise OptionError(f"path='fused' is not possible here: {fault}; accepted: 'auto', 'hooks'")
    return "hooks", fault
