"""The published figures of `published.csv`: means over 11 datasets, by method."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")
BACKBONE = "CLIP ViT-B/16"
ALIKE = ("ViT-B-16", "openai")
"""What the name of a backbone of that kind has in it."""


@dataclass(frozen=True)
class Method:
    """name: as it was published; figures: percent by `base`, `new`, `h`, `shots-N`; source: where they are from."""

    name: str
    figures: Mapping[str, float]
    source: str


def published() -> dict[str, Method]:
    """What was published, by our names of the methods."""
    figures: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, None]] = {}
    names: dict[str, str] = {}
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for line in csv.DictReader(lines):
        method = line["method"]
        names[method] = line["published_as"]
        figures.setdefault(method, {})[line["figure"]] = float(line["accuracy"])
        sources.setdefault(method, {})[line["source"]] = None
    return {method: Method(names[method], figures[method], ", ".join(sources[method])) for method in figures}
