"""The published figures of `published.csv`."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.suite.report import Published

FILE = Path(__file__).with_name("published.csv")


def published() -> Published:
    """Accuracies by method and task, with how they were obtained."""
    accuracies: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    for line in csv.DictReader(_facts()):
        accuracies.setdefault(line["method"], {})[line["task"]] = float(line["accuracy"])
        names[line["method"]] = line["published_as"]
    return Published(
        FILE,
        source="README of synbol/Parameter-Efficient-Transfer-Learning-Benchmark; Full and VPT-Deep also in the "
        "convpass README of JieShibo/PETL-ViT; the means over tasks are taken here",
        accuracies=accuracies,
        names=names,
        backbone="ViT-B/16, supervised on ImageNet-21k, 224 × 224 pixels",
        alike=("vit_base_patch16_224", "in21k"),
        route="TensorFlow Datasets",
        routes=("tfds",),
        notes=("VPT was published with a prompt length chosen per task.",),
    )


def _facts() -> list[str]:
    """The lines of the file without its comments."""
    return [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
