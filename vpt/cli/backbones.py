"""`vpt backbones`: the models that take prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from vpt.errors import OptionError, nearest
from vpt.runs.console import note


def backbones(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as '*dinov2*'.")] = "",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Only those with published weights, with their tags.")
    ] = False,
) -> None:
    """List the backbones that take prompts, one per line."""
    from fnmatch import fnmatch

    from vpt.backbones import names
    from vpt.backbones.clip_names import installed

    known = names(pretrained=pretrained)
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    found = [name for name in known if fnmatch(name, wanted)]
    if not found:
        raise OptionError(f"no backbone like {pattern!r}{nearest(pattern, known)}")
    for name in found:
        print(name)
    own = "weights of all but the embedded ones come from the hub or --checkpoint"
    missing = "" if installed() else "; open_clip's are not among them: pip install 'vpt[clip]'"
    note(f"{len(found)} of {len(known)} backbones; {own}{missing}")
