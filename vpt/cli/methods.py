"""`vpt methods`: what can be learned, and with which options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vpt.runs.console import facts, table

if TYPE_CHECKING:
    import inspect


def methods(name: Annotated[str | None, typer.Argument(help="Show one method's options.")] = None) -> None:
    """List the methods for timm and for open_clip models, or the options of one."""
    from vpt.methods.method import FAMILIES, describe, families, names

    if name is None:
        shown = [describe(n, family) for family in FAMILIES for n in names(family)]
        rows = [[m.name, m.family, m.summary, ", ".join(m.options)] for m in shown]
        table(["method", "models", "what it learns", "options (method.options.NAME=VALUE)"], rows)
        return
    for method in [describe(name, family) for family in families(name)] or [describe(name)]:  # the latter raises
        print(f"{method.name} ({method.family}): {method.summary}")
        if method.options:
            facts("default", {option: _default(p) for option, p in method.options.items()})


def _default(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is parameter.empty else f"  ({parameter.annotation})"
    return ("required" if parameter.default is parameter.empty else repr(parameter.default)) + kind
