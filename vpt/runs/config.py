"""What a run is told: one dataclass per concern."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vpt.artifacts.save import jsonable
from vpt.training.config import BOOKKEEPING, FitConfig


@dataclass
class BackboneConfig:
    """Which frozen model. `checkpoint` is a local weights file; `mean` and `std` correct what the model declares.

    `tokenizer` is a folder with the files of a Hugging Face tokenizer, for the open_clip models that have such a one.
    """

    name: str = "embedded"
    checkpoint: Path | None = None
    image_size: int | None = None  # pixels; None: the model's own
    pretrained: bool = True
    mean: list[float] | None = None
    std: list[float] | None = None
    tokenizer: Path | None = None


@dataclass
class DataConfig:
    """Which images. `options` go to `vpt.data.load_task`: `shots`, `seed`, `val_fraction`, sizes of embedded tasks.

    With `shots` and no `seed`, each seed of the run draws shots of its own; with a `seed`, all of them have the same.
    An open_clip model learns of the names of the classes.
    """

    source: str = "embedded"
    name: str | None = None
    root: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    augment: str = "none"
    cache: Path | None = None  # folder for decoded images, used while nothing is augmented
    fit_on: str = "auto"  # "train", "trainval", or "auto": trainval once a search has used val, but not for few-shot

    def drawn(self, seed: int) -> DataConfig:
        """These images for one seed of a run: with few shots its own draw, unless `options` say which."""
        if self.options.get("shots") is None or self.options.get("seed") is not None:
            return self
        return replace(self, options={**self.options, "seed": seed})


@dataclass
class PreprocessingConfig:
    """How images are resized; None leaves what the backbone declares."""

    interpolation: str | None = None
    antialias: bool | None = None


@dataclass
class MethodConfig:
    """What is learned: a name of `vpt methods`, the path, how a timm model's head starts, and the method's options."""

    name: str = "deep"
    path: str = "auto"
    head_init: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class SearchConfig:
    """Learning rates to try on val before the final training, with each weight decay; none: `train.lr` is taken."""

    lr: list[float] = field(default_factory=list)
    weight_decay: list[float] = field(default_factory=list)  # none: `train.weight_decay`
    epochs: int | None = None  # of each trial; None: as many as the final training


@dataclass
class CardConfig:
    """What the saved task's card says beside what was measured: a licence (SPDX), and what the task is for."""

    licence: str | None = None
    intended_use: str | None = None


@dataclass
class RunConfig:
    """One method on one task. `seeds` lists the repetitions; `out` is the run's folder."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    train: FitConfig = field(default_factory=FitConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    card: CardConfig = field(default_factory=CardConfig)
    seeds: list[int] = field(default_factory=lambda: [0])
    out: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able."""
        plain: dict[str, Any] = jsonable(asdict(self))
        return plain


def to_yaml(config: RunConfig) -> str:
    """The full configuration as YAML that `load_config` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(config.to_dict()))


CARD = ("card.licence", "card.intended_use")
INCIDENTAL = frozenset({"out", "data.cache", *CARD, *(f"train.{name}" for name in BOOKKEEPING)})
"""Fields that change where a run writes and what it costs, never its result."""


def differences(a: RunConfig, b: RunConfig) -> list[str]:
    """Names of the fields in which two configurations differ, the `INCIDENTAL` ones left aside."""
    return sorted(differing(a.to_dict(), b.to_dict(), INCIDENTAL))


def differing(a: Mapping[str, Any], b: Mapping[str, Any], aside: Collection[str] = (), at: str = "") -> Iterator[str]:
    """`name (value in a, now value in b)` for each leaf in which two nested records differ, those `aside` left out."""
    for key in sorted({*a, *b}):
        if f"{at}{key}" in aside:
            continue
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            yield from differing(x, y, aside, f"{at}{key}.")
        elif x != y:
            yield f"{at}{key} ({x!r}, now {y!r})"
