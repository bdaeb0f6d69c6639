"""Which path computes the prompts: the plain one, or an exact shortcut where there is one."""

from __future__ import annotations

from typing import Literal

from vpt.errors import OptionError

Path = Literal["auto", "hooks", "fused"]
PATHS: tuple[Path, ...] = ("auto", "hooks", "fused")


def choose(path: str) -> tuple[str, str]:
    """The path taken for what was asked, and why.

    Raises `OptionError` for an unknown path, and for `fused`, which this version does not have yet.
    """
    if path not in PATHS:
        raise OptionError(f"path is {path!r}; accepted: {', '.join(map(repr, PATHS))}")
    if path == "fused":
        raise OptionError("path='fused' is not in this version of vpt; accepted: 'auto', 'hooks'")
    return "hooks", "asked for" if path == "hooks" else "the only path of this version"
