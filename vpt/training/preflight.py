"""What would spoil a run, found before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpt.errors import DataError, OptionError, TrainingError
from vpt.sites.modes import evaluating
from vpt.training.batches import Labelled, describe
from vpt.training.config import FitConfig
from vpt.training.devices import place
from vpt.training.trained import trainable


@dataclass(frozen=True)
class Facts:
    """What the checks found: training labels `[n]`, classes C of the model, their names, tensors trained in vain."""

    labels: np.ndarray
    num_classes: int
    classes: tuple[str, ...]
    unused: tuple[str, ...] = ()


def check(model: nn.Module, train: Labelled, val: Labelled | None, config: FitConfig) -> Facts:
    """Check model, data and settings against each other.

    Raises `DataError` (empty, unlabelled or non-finite data, labels outside the classes), `OptionError` (class weights,
    classes of the head) or `TrainingError` (nothing to train, learned tensors in half precision).
    """
    _check_trainable(model)
    labels = check_dataset(train, "training")
    held_out = None if val is None else check_dataset(val, "validation", _class_names(train))
    num_classes, unused = _outputs(model, train)
    check_labels(train, labels, num_classes, "training")
    names = class_names(train, num_classes, "training")
    if val is not None and held_out is not None:
        check_labels(val, held_out, num_classes, "validation")
        class_names(val, num_classes, "validation")
    if not isinstance(config.class_weights, str) and len(config.class_weights) != num_classes:
        raise OptionError(
            f"class_weights: {len(config.class_weights)} numbers given; accepted: one per class, {num_classes}"
        )
    return Facts(labels, num_classes, names, unused)


def check_dataset(dataset: Labelled, what: str, classes: tuple[str, ...] = ()) -> np.ndarray:
    """The labels `[n]` of a dataset that is not empty, has finite images and agrees with `classes` if both are named.

    Where the dataset knows its labels (`images.labels`, decoded pixels) the first item is looked at, else every one.
    """
    first = check_first(dataset, what)
    own = _class_names(dataset)
    if classes and own and own != classes:
        only = sorted(set(own) ^ set(classes))
        detail = f"not in both: {', '.join(only)}" if only else "the order differs"
        raise DataError(f"the {what} data has other classes than the training data ({detail})")
    images: Any = getattr(dataset, "images", None)
    known = hasattr(images, "labels")
    labels = images.labels if known else [first, *(_check_item(dataset, i, what) for i in range(1, len(dataset)))]
    return np.asarray(labels, np.int64)


def check_first(dataset: Labelled, what: str) -> int:
    """The label of the first item; raises `DataError` where there is none or it is not as it should be."""
    if len(dataset) == 0:
        raise DataError(f"the {what} data is empty")
    return _check_item(dataset, 0, what)


def check_labels(dataset: Labelled, labels: np.ndarray, num_classes: int, what: str) -> None:
    """Raise `DataError` naming the first image whose label is not one of 0 ... C - 1."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{len(wrong)} of {len(labels)} {what} labels are outside 0 ... {num_classes - 1}, "
            f"first {describe(dataset, first)} with label {labels[first]}"
        )


def class_names(dataset: Labelled, num_classes: int, what: str) -> tuple[str, ...]:
    """Names of the model's C classes: the dataset's, else their numbers; raises `OptionError` where it has not C."""
    names = _class_names(dataset)
    if names and len(names) != num_classes:
        raise OptionError(f"the model answers {num_classes} classes, the {what} data has {len(names)}")
    return names or tuple(str(c) for c in range(num_classes))


def check_logits(logits: Any, images: int) -> Tensor:
    """What a model gave for some images, if it is logits `[images, C]`; else raises `TrainingError`."""
    if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == images:
        return logits
    got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    raise TrainingError(f"the model must answer logits [B, C]; for a batch of {images} it gave {got}")


def _check_item(dataset: Labelled, position: int, what: str) -> int:
    item: Any = dataset[position]
    if not isinstance(item, dict) or not {"image", "label", "index"} <= item.keys():
        raise DataError(f"item {position} of the {what} data is not a dict of 'image', 'label' and 'index'")
    image = torch.as_tensor(item["image"])
    name = describe(dataset, int(item["index"]))
    if image.ndim != 3 or not image.is_floating_point():
        raise DataError(f"{what} data, {name}: a float image [3, H, W] expected, got {image.dtype} {list(image.shape)}")
    if not torch.isfinite(image).all():
        raise DataError(f"{what} data, {name}: the image holds NaN or infinite values")
    return int(item["label"])


def _check_trainable(model: nn.Module) -> None:
    learned = trainable(model)
    if not learned:
        raise TrainingError("nothing to train: no parameter of the model requires a gradient")
    low = sorted(name for name, p in learned.items() if torch.finfo(p.dtype).bits < 32)
    if low:
        raise TrainingError(
            f"learned tensors must be float32 or float64, these are not: {', '.join(low)}; "
            "keep the model in float32 and give precision='bf16' or 'fp16'"
        )


def _outputs(model: nn.Module, dataset: Labelled) -> tuple[int, tuple[str, ...]]:
    """Classes C of the model, and the trained parameters that its logits do not depend on, from one image."""
    device, dtype = place(model)
    learned = trainable(model)
    image = torch.as_tensor(dataset[0]["image"]).unsqueeze(0).to(device, dtype)
    with evaluating(model), torch.enable_grad():
        logits = check_logits(model(image), 1)
    if not logits.requires_grad:
        raise TrainingError(f"the logits depend on none of the trained tensors: {', '.join(learned)}")
    slopes = torch.autograd.grad(logits.sum(), list(learned.values()), allow_unused=True)
    unused = tuple(name for name, slope in zip(learned, slopes, strict=True) if slope is None)
    return int(logits.shape[1]), unused


def _class_names(dataset: Labelled) -> tuple[str, ...]:
    return tuple(getattr(getattr(dataset, "images", None), "classes", ()))
