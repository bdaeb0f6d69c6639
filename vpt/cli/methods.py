"""`vpt methods`: what can be learned, and with which options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vpt.runs.console import facts, table

if TYPE_CHECKING:
    import inspect


def methods(name: Annotated[str | None, typer.Argument(help="Show one method's options.")] = None) -> None:
    """List the methods, or the options of one."""
    from vpt.methods import describe, names

    if name is None:
        rows = [[n, describe(n).summary, ", ".join(describe(n).options)] for n in names()]
        table(["method", "what it learns", "options (method.options.NAME=VALUE)"], rows)
        return
    method = describe(name)
    print(f"{method.name}: {method.summary}")
    if method.options:
        facts("default", {option: _default(p) for option, p in method.options.items()})


def _default(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is parameter.empty else f"  ({parameter.annotation})"
    return ("required" if parameter.default is parameter.empty else repr(parameter.default)) + kind
