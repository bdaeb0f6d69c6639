"""What a configuration may say: every value that cannot be, in one list."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vpt.attach.choose import PATHS
from vpt.attach.text_choose import TEXT_PATHS
from vpt.errors import OptionError, nearest
from vpt.methods.method import Family, describe, families, names
from vpt.runs.config import RunConfig


def check(config: RunConfig) -> list[str]:
    """One line per value that cannot be: names of other layers, ranges, and combinations."""
    return [*_check_names(config), *_check_values(config), *(f"train.{line}" for line in config.train.problems())]


def _check_names(config: RunConfig) -> Iterator[str]:
    from vpt.backbones.load import check_name, family_of
    from vpt.data.augment import PRESETS
    from vpt.data.pixels import INTERPOLATIONS
    from vpt.data.sources import faults

    family: Family | None = family_of(config.backbone.name)
    try:
        check_name(config.backbone.name)
    except OptionError as error:
        yield f"backbone.name: {error}"
        family = None
    yield from _check_method(config, family)
    yield from (f"data: {fault}" for fault in faults(config.data.source, config.data.name, config.data.options))
    yield from _choice("data.fit_on", config.data.fit_on, ("auto", "train", "trainval"))
    yield from _choice("data.augment", config.data.augment, PRESETS)
    yield from _choice("preprocessing.interpolation", config.preprocessing.interpolation, (None, *INTERPOLATIONS))


def _check_method(config: RunConfig, family: Family | None) -> Iterator[str]:
    """What is wrong with the method, and what does not fit models of this family, where the backbone is known."""
    name, own = config.method.name, families(config.method.name)
    if own and family is not None and family not in own:
        yield (
            f"method.name: {name!r} is for {own[0]} models; backbone {config.backbone.name!r} is one of {family}'s, "
            f"which take: {', '.join(names(family))}"
        )
    else:
        try:
            describe(name, family).bind(config.method.options)
        except OptionError as error:
            yield f"method: {error}"
    paths: dict[Family | None, tuple[str, ...]] = {"timm": PATHS, "open_clip": TEXT_PATHS}
    yield from _choice("method.path", config.method.path, paths.get(family, (*PATHS, *TEXT_PATHS)))
    yield from _check_head(config.method.head_init, family)
    if config.backbone.tokenizer is not None and family == "timm":
        yield f"backbone.tokenizer: {str(config.backbone.tokenizer)!r} given; timm's models read no words"


def _check_head(init: str, family: Family | None) -> Iterator[str]:
    from vpt.methods.heads import HEAD_INITS

    if family == "open_clip" and init != "auto":
        yield f"method.head_init: {init!r} given; accepted: auto, since open_clip's models have no head but names"
    elif init == "keep":
        yield "method.head_init: 'keep' given; a run loads its backbone without a head, so that there is none to keep"
    else:
        yield from _choice("method.head_init", init, [name for name in HEAD_INITS if name != "keep"])


def _check_values(config: RunConfig) -> Iterator[str]:
    if not config.seeds or len(set(config.seeds)) != len(config.seeds) or min(config.seeds) < 0:
        yield f"seeds: {config.seeds} given; accepted: one or more different whole numbers from 0"
    if config.train.seed != 0:
        yield f"train.seed: {config.train.seed} given; the seeds of a run stand in seeds=[...]"
    if not all(0 < lr < math.inf for lr in config.search.lr) or len(set(config.search.lr)) != len(config.search.lr):
        yield f"search.lr: {config.search.lr} given; accepted: different numbers above 0"
    decays = config.search.weight_decay
    if not all(0 <= decay < math.inf for decay in decays) or len(set(decays)) != len(decays):
        yield f"search.weight_decay: {decays} given; accepted: different numbers from 0"
    if decays and not config.search.lr:
        yield f"search.weight_decay: {decays} given; accepted: together with search.lr=[...]"
    if config.search.epochs is not None and config.search.epochs < 1:
        yield f"search.epochs: {config.search.epochs} given; accepted: a whole number from 1, or null"
    for name in ("mean", "std"):
        values = getattr(config.backbone, name)
        if values is not None and (len(values) != 3 or (name == "std" and min(values) <= 0)):
            yield f"backbone.{name}: {values} given; accepted: three numbers{', above 0' if name == 'std' else ''}"
    if config.backbone.image_size is not None and config.backbone.image_size < 1:
        yield f"backbone.image_size: {config.backbone.image_size} given; accepted: a whole number of pixels from 1"


def _choice(where: str, value: str | None, accepted: Sequence[str | None] | Mapping[str, Any]) -> Iterator[str]:
    if value not in accepted:
        names = ["null" if name is None else name for name in accepted]
        yield f"{where}: {value!r} given{nearest(str(value), names)}; accepted: {', '.join(names)}"
