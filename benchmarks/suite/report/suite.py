"""What a suite tells the report about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """Figures of others, to stand beside ours.

    accuracies: percent by method and task; names: what a method is called there. file: the figures with their
    source, copied beside the page. route, backbone: how they were obtained; alike: what a backbone's name must
    contain to be of that kind. notes: what else has to be known.
    """

    file: Path
    source: str
    accuracies: Mapping[str, Mapping[str, float]]
    names: Mapping[str, str]
    backbone: str
    alike: tuple[str, ...]
    route: str
    routes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """title: of the page, and what its scores are called."""

    title: str
    published: Published | None = None
