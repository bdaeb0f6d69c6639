"""The registry: a method is a named function from a site and options to what is learned."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

import vpt.methods
from vpt.attach.attachment import check_free
from vpt.attach.hooks import Pool
from vpt.errors import OptionError, nearest, unknown
from vpt.sites.site import Site


def linear_head(features: int, classes: int) -> nn.Module:
    """The head of most methods: one linear map `[B, features]` to `[B, C]`."""
    return nn.Linear(features, classes)


@dataclass(frozen=True)
class Learned:
    """What one method learns on one site. The head is learned by every method.

    prompts: the module of prompts, if any.
    pool: what is read at the end, see `vpt.attach.hooks.POOLS`.
    parameters: names of the backbone's own parameters that are trained in place.
    modules: names of the backbone's modules that follow `train()`; all others stay in eval.
    head: makes a fresh head from (features, classes).
    adapters: by the names of linear layers of the backbone, what stands in for each (see `vpt.attach.adapters`).
    precise: whether the adapters' own tensors keep float32 at least when the model is cast, as prompts do.
    """

    prompts: nn.Module | None = None
    pool: Pool = "backbone"
    parameters: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    head: Callable[[int, int], nn.Module] = linear_head
    adapters: Mapping[str, nn.Module] = field(default_factory=dict)
    precise: bool = False


Family = Literal["timm", "open_clip"]
"""Whose models a method is for."""


@dataclass(frozen=True)
class Method:
    """A registered method: its name, a line about it, its options with their defaults, and what builds it.

    build: answers a `Learned` for the family "timm", a `vpt.methods.clip.ClipLearned` for "open_clip".
    """

    name: str
    summary: str
    build: Callable[..., Any]
    options: dict[str, inspect.Parameter] = field(default_factory=dict)
    family: Family = "timm"

    def bind(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options with their defaults filled in.

        Raises `OptionError` that lists every option this method does not have.
        """
        wrong = [f"{name!r}{nearest(name, self.options)}" for name in options if name not in self.options]
        if wrong:
            accepted = ", ".join(self.options) or "none"
            raise OptionError(f"method {self.name!r} has no option {', '.join(wrong)}; accepted: {accepted}")
        return {name: options.get(name, parameter.default) for name, parameter in self.options.items()}


FAMILIES: tuple[Family, ...] = ("timm", "open_clip")

_METHODS: dict[tuple[str, Family], Method] = {}
Build = TypeVar("Build", bound=Callable[..., Any])


def method(name: str, family: Family = "timm") -> Callable[[Build], Build]:
    """Register `build(site, generator, **options)` as the method `name` of a family; its docstring describes it.

    It answers a `Learned`; of an open_clip method see `vpt.methods.clip.learned.clip_method`.
    """

    def register(build: Build) -> Build:
        known = _METHODS.get((name, family))
        if known is not None and known.build.__module__ != build.__module__:
            raise OptionError(f"method {name!r} is already registered by {known.build.__module__}")
        options = dict(list(inspect.signature(build).parameters.items())[2:])
        summary = (inspect.getdoc(build) or "").split("\n")[0]
        _METHODS[name, family] = Method(name, summary, build, options, family)
        return build

    return register


@cache
def _import_all() -> None:
    for module in pkgutil.walk_packages(vpt.methods.__path__, "vpt.methods."):
        importlib.import_module(module.name)


def names(family: Family | None = None) -> list[str]:
    """Every registered method, or those for the models of one family, sorted."""
    _import_all()
    return sorted({name for name, own in _METHODS if family in (None, own)})


def families(name: str) -> list[Family]:
    """The families that have a method of that name; none for an unknown one."""
    return [family for family in FAMILIES if name in names(family)]


def describe(name: str, family: Family | None = None) -> Method:
    """The method of that name in a family, or in the first that has it.

    Raises `OptionError` with the nearest name for an unknown one.
    """
    own = families(name) if family is None else [family]
    if not own or name not in names(own[0]):
        raise unknown("method", name, names(family))
    return _METHODS[name, own[0]]


def build(name: str, site: Site, seed: int, options: dict[str, Any]) -> tuple[Learned, dict[str, Any]]:
    """What method `name` learns on `site`, and its full options. Raises `OptionError` for a backbone in use."""
    check_free(site.backbone)
    chosen = describe(name, "timm")
    full = chosen.bind(options)
    learned: Learned = chosen.build(site, torch.Generator().manual_seed(seed), **full)
    return learned, full


def described(array: Tensor | np.ndarray) -> str:
    """What stands for an array where options are kept or written: `<array [n, F]>`."""
    return f"<array {list(array.shape)}>"


def parameters_under(site: Site, modules: Iterable[str]) -> frozenset[str]:
    """Names of all backbone parameters inside the named modules."""
    prefixes = tuple(f"{name}." for name in modules)
    return frozenset(name for name, _ in site.backbone.named_parameters() if name.startswith(prefixes))
