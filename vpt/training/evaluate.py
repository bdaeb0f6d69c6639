"""How good a model is on labelled images."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vpt.errors import DataError, OptionError, TrainingError
from vpt.sites.modes import evaluating
from vpt.training.batches import Labelled, Shard, describe, epoch_batches, load_batches
from vpt.training.config import FitConfig
from vpt.training.devices import place, precision_of
from vpt.training.frozen_inputs import affordable_part, store_in
from vpt.training.log import Logger
from vpt.training.preflight import check_first, check_labels, check_logits, class_names

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Evaluation:
    """Predictions on n images and what they amount to; row i is the dataset's i-th image, rates are in [0, 1].

    labels, predictions: `[n]` int64. probabilities: `[n, C]`. loss: mean cross-entropy.
    confusion: `[C, C]` counts, row = label, column = prediction.
    mean_class_accuracy: over the classes that occur among the labels.
    macro_f1: over the classes that occur among labels or predictions.
    """

    accuracy: float
    mean_class_accuracy: float
    macro_f1: float
    loss: float
    confusion: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    def per_class(self) -> dict[str, float | None]:
        """Accuracy of each class by name; None for a class without images."""
        counts = self.confusion.sum(1)
        hits = np.diag(self.confusion)
        return {c: float(h / n) if n else None for c, h, n in zip(self.classes, hits, counts, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """The figures, JSON-able: metrics, confusion matrix, accuracy per class; not the rows of single images."""
        return {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "mean_class_accuracy": self.mean_class_accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "classes": list(self.classes),
            "per_class_accuracy": self.per_class(),
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    model: nn.Module,
    dataset: Labelled,
    *,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Accelerator | None = None,
    cache: Path | str | None = None,
) -> Evaluation:
    """Evaluate `model` (images `[B, 3, H, W]` to logits `[B, C]`) on the whole dataset, on the device it is on.

    cache: folder that keeps what the frozen part of a tuned model gives for unchanging images, as `fit`'s does.
    With an `accelerator` its processes share the images and each gets the whole result, in the accelerator's precision.
    Raises `DataError` (empty dataset, label outside the classes), `OptionError` (the dataset's classes are not as many
    as the logits) or `TrainingError` (no logits, or logits that are not finite).
    """
    check_first(dataset, "evaluation")
    if cache is None:
        return score(model, dataset, batch_size=batch_size, workers=workers, accelerator=accelerator)
    config = FitConfig(batch_size=batch_size, workers=workers, precision=precision_of(accelerator))
    config.validate()
    net = affordable_part(model, dataset, None, config, Logger())
    with store_in(cache, config) as store:
        fed = store.as_read_by(net, model, dataset, config, accelerator, Logger())
        return score(net, fed, batch_size=batch_size, workers=workers, accelerator=accelerator)


def score(
    model: nn.Module, dataset: Labelled, *, batch_size: int, workers: int = 0, accelerator: Accelerator | None = None
) -> Evaluation:
    """`evaluate` for data that was looked at before, such as `fit`'s."""
    logits, labels = predict(model, dataset, batch_size=batch_size, workers=workers, accelerator=accelerator)
    check_labels(dataset, labels, logits.shape[1], "evaluation")
    names = class_names(dataset, logits.shape[1], "evaluation")
    broken = np.flatnonzero(~np.isfinite(logits).all(1))
    if len(broken):
        which = ", ".join(describe(dataset, int(i)) for i in broken[:8])
        raise TrainingError(f"the model gives NaN or infinite logits for {len(broken)} images, first {which}")
    return summarise(logits, labels, names)


@torch.no_grad()
def predict(
    model: nn.Module,
    dataset: Labelled,
    *,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Accelerator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[n, C]` float64 of the model in evaluation mode, and labels `[n]`; row i is the dataset's i-th image."""
    if batch_size < 1:
        raise OptionError(f"batch_size: {batch_size!r} given; accepted: a whole number from 1")
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator is not None else (0, 1)
    shard = Shard(epoch_batches(len(dataset), batch_size, shuffle=False), rank, world)
    device, dtype = place(model)
    # each row is one process's own and zero elsewhere, so that the processes' tables add up to the whole
    table: Tensor | None = None
    loader = load_batches(dataset, shard, workers=workers)
    with evaluating(model):
        for positions, count, batch in zip(shard, shard.counts, loader, strict=True):
            with accelerator.autocast() if accelerator is not None else nullcontext():
                logits = check_logits(model(batch["image"].to(device, dtype)), len(batch["image"]))
            rows = torch.cat([logits.cpu().double(), batch["label"].double().unsqueeze(1)], dim=1)
            table = torch.zeros(len(dataset), rows.shape[1], dtype=torch.float64) if table is None else table
            table[positions[:count]] = rows[:count]
    if table is None:
        raise DataError("there is no image to predict")
    if world > 1 and accelerator is not None:
        table = accelerator.reduce(table.to(accelerator.device), "sum").cpu()
    return table[:, :-1].numpy(), table[:, -1].long().numpy()


def summarise(logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Evaluation:
    """The `Evaluation` of logits `[n, C]` against labels `[n]`."""
    from sklearn.metrics import confusion_matrix

    rows = torch.from_numpy(logits)
    log_probabilities = rows.log_softmax(1).numpy()
    predictions = logits.argmax(1)
    return Evaluation(
        **rates(labels, predictions),
        loss=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        confusion=confusion_matrix(labels, predictions, labels=np.arange(logits.shape[1])),
        labels=labels,
        predictions=predictions,
        probabilities=np.exp(log_probabilities),
        classes=classes,
    )


def rates(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """`accuracy`, `mean_class_accuracy` and `macro_f1` (see `Evaluation`) of predicted classes `[n]`."""
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    present = np.unique(labels)
    mean_class = recall_score(labels, predictions, labels=present, average="macro", zero_division=0)
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "mean_class_accuracy": float(mean_class),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }
