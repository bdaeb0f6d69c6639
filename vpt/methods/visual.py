"""Visual prompt tuning: `shallow` and `deep` (VPT, arXiv:2203.12119)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vpt.attach.hooks import POOLS, Pool
from vpt.attach.observe import patch_tokens
from vpt.errors import OptionError, unknown
from vpt.methods.layers import Layers, resolve
from vpt.methods.method import Learned, method
from vpt.prompts import TokenPrompts
from vpt.prompts import init as inits
from vpt.prompts.tokens import DropoutMode
from vpt.sites.site import Site

Init = str | Any
"""`uniform` (the paper's), `normal`, `zeros`, an array `[L, P, d]` or `[P, d]`, or a key of `SELECTIONS`."""


@method("shallow")
def shallow(
    site: Site,
    generator: torch.Generator,
    length: int = 10,
    dropout: float = 0.0,
    init: Init = "uniform",
    project: int | None = None,
    dropout_mode: DropoutMode = "step",
    pool: Pool = "backbone",
    init_images: Tensor | None = None,
) -> Learned:
    """VPT-Shallow: prompt tokens enter the first block and travel through all of them."""
    return _tokens(site, generator, length, "first", dropout, init, project, False, dropout_mode, pool, init_images)


@method("deep")
def deep(
    site: Site,
    generator: torch.Generator,
    length: int = 10,
    layers: Layers = "all",
    dropout: float = 0.0,
    init: Init = "uniform",
    project: int | None = None,
    shared: bool = False,
    dropout_mode: DropoutMode = "step",
    pool: Pool = "backbone",
    init_images: Tensor | None = None,
) -> Learned:
    """VPT-Deep: every block (or those in `layers`) gets prompt tokens of its own."""
    return _tokens(site, generator, length, layers, dropout, init, project, shared, dropout_mode, pool, init_images)


def _tokens(
    site: Site, generator: torch.Generator, length: int, layers: Layers, dropout: float, init: Init,
    project: int | None, shared: bool, dropout_mode: DropoutMode, pool: Pool, init_images: Tensor | None,
) -> Learned:  # fmt: skip
    blocks = resolve(layers, site.depth)
    if pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    if pool != "backbone" and (site.pooling in ("map", "prr", "") or not blocks):
        fault = f"this model pools by {site.pooling!r}" if blocks else "no block is prompted"
        raise OptionError(f"pool={pool!r} needs prompts, and a model that pools one token or a mean; {fault}")
    prompts = TokenPrompts(
        site.width, length, blocks, initializer(init, site, blocks, init_images), shared=shared, project=project,
        dropout=dropout, dropout_mode=dropout_mode, generator=generator,
    )  # fmt: skip
    return Learned(prompts, pool)


NAMED = ("uniform", "normal", "zeros")


def initializer(init: Init, site: Site, blocks: tuple[int, ...], images: Tensor | None) -> inits.Initializer:
    """The initialiser that the option `init` names. Raises `OptionError` for an unknown name."""
    if not isinstance(init, str) or init not in inits.SELECTIONS:
        return without_images(init, site, (*NAMED, *inits.SELECTIONS))
    if images is None:
        raise OptionError(f"init={init!r} takes tokens from images; pass some of the training set as init_images=")
    resizes = getattr(site.backbone, "dynamic_img_size", False)
    if images.dim() != 4 or (tuple(images.shape[2:]) != site.image_size and not resizes):
        height, width = site.image_size
        raise OptionError(f"init_images is {tuple(images.shape)}; this model reads [n, 3, {height}, {width}]")
    return inits.from_patches(patch_tokens(site, images, blocks), init)


def without_images(init: Init, site: Site, accepted: tuple[str, ...] = NAMED) -> inits.Initializer:
    """The initialisers that need no images: named ones, and arrays."""
    if not isinstance(init, str):
        return inits.from_array(init)
    if init not in NAMED:
        raise unknown("init", init, accepted)
    return {"uniform": inits.paper(site.patch_size), "normal": inits.normal(), "zeros": inits.zeros()}[init]
