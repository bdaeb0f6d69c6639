"""Probabilities for picture files, from a saved task or from class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vpt.data import ImageDataset, ImageSet
from vpt.data.pictures import Files
from vpt.runs.restore import Ready


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one picture with their probabilities in [0, 1], likeliest first."""

    file: Path
    classes: list[tuple[str, float]]


def pictures(ready: Ready, files: Sequence[Path]) -> ImageDataset:
    """Picture files as the model takes them; their labels are unknown and stand as 0.

    Raises `DataError` naming every file that is no readable image.
    """
    images = ImageSet("pictures", ready.classes, [0] * len(files), Files(tuple(map(str, files))), "files")
    images.verify()
    return ImageDataset(images, ready.preprocessing)


def predictions(ready: Ready, dataset: ImageDataset, *, top: int = 5, batch_size: int = 32) -> list[Prediction]:
    """One `Prediction` per picture of `pictures(...)`, in order."""
    from vpt.training import predict

    logits, _ = predict(ready.model, dataset, batch_size=batch_size)
    values, order = torch.from_numpy(logits).softmax(1).topk(min(top, len(ready.classes)), dim=1)
    files = [Path(dataset.images.describe(i)) for i in range(len(dataset))]
    rows = zip(files, values.tolist(), order.tolist(), strict=True)
    return [Prediction(f, [(ready.classes[c], p) for p, c in zip(ps, cs, strict=True)]) for f, ps, cs in rows]
