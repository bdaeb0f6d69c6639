"""Which linear layers of the blocks get an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from vpt.errors import OptionError, nearest
from vpt.methods.layers import Layers, resolve
from vpt.sites.site import Site

Targets = str | Sequence[str] | None
"""Ends of names such as `"attn.qkv"` or `"fc1"`, `"all"`, or None: what makes queries and values.

A layer that makes keys with them, such as `qkv`, is adapted as a whole.
"""

QUERIES_AND_VALUES = ("qkv", "q_proj", "v_proj", "in_proj")


def targeted(site: Site, layers: Layers, targets: Targets) -> dict[str, nn.Linear]:
    """The linear layers in the blocks `layers` that `targets` names, by their names in the backbone.

    By default those that make queries and values; where one layer makes the keys too, that one.
    Raises `OptionError` that lists every target which no block has.
    """
    present = list(dict.fromkeys(name for block in site.blocks for name, _ in linears(block)))
    wanted = wanted_of(targets, present, QUERIES_AND_VALUES)
    return {
        f"blocks.{number}.{name}": linear
        for number in resolve(layers, site.depth)
        for name, linear in linears(site.blocks[number])
        if is_target(name, wanted)
    }


def wanted_of(targets: Targets, present: Sequence[str], usual: Sequence[str]) -> Sequence[str]:
    """Ends of names that `targets` stands for, among the names `present`; `usual` are those of None.

    Raises `OptionError` that lists every target which none of the names has.
    """
    accepted = f"accepted: 'all', or any of {', '.join(present)}"
    if targets is None:
        if not any(is_target(name, usual) for name in present):
            raise OptionError(f"no layer here is known to make queries and values; name the targets, {accepted}")
        return usual
    wanted = [targets] if isinstance(targets, str) else targets
    if not isinstance(wanted, Sequence) or not wanted or not all(isinstance(target, str) for target in wanted):
        raise OptionError(f"targets is {targets!r}; {accepted}")
    if list(wanted) == ["all"]:
        return present
    wrong = [t for t in wanted if not any(is_target(name, [t]) for name in present)]
    if wrong:
        listed = ", ".join(f"{target!r}{nearest(target, present)}" for target in wrong)
        raise OptionError(f"no block has a linear layer {listed}; {accepted}")
    return wanted


def linears(block: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """A block's plain linear layers alone: a subclass may be called in ways of its own."""
    return ((name, module) for name, module in block.named_modules() if type(module) is nn.Linear)


def is_target(name: str, wanted: Sequence[str]) -> bool:
    """Whether the name ends in any of `wanted`, part by part."""
    return any(f".{name}".endswith(f".{target}") for target in wanted)
