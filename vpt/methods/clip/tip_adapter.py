"""A cache of labelled images beside the class names: `tip_adapter`, and `tip_adapter_f`, which trains its keys.

The published code augments the images ten ways and, for some data sets, picks alpha and beta by the test set. Here the
images are taken as they are given, and alpha and beta are options.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.errors import DataError, OptionError
from vpt.methods.clip.at_start import image_features
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, check_weight, from_templates
from vpt.methods.clip.learned import ClipLearned, ClipTask, Comparing, clip_method
from vpt.prompts.on_features import Cache

Images = Tensor | np.ndarray
Labels = Tensor | np.ndarray | Sequence[int]
ACCEPTED = (
    "accepted: support_images=[n, 3, H, W], a tensor or an array of images of the classes as the model takes them (or "
    "their features [n, F]), and support_labels=[n], their classes by number"
)


@clip_method("tip_adapter")
def tip_adapter(
    task: ClipTask,
    generator: torch.Generator,
    support_images: Images | None = None,
    support_labels: Labels | None = None,
    templates: Templates = PHOTO,
    alpha: float = 1.0,
    beta: float = 5.5,
) -> ClipLearned:
    """Tip-Adapter (arXiv:2111.03930): labelled images vote by their likeness, times alpha; nothing is trained."""
    return _cached(task, support_images, support_labels, templates, alpha, beta, trained=False)


@clip_method("tip_adapter_f")
def tip_adapter_f(
    task: ClipTask,
    generator: torch.Generator,
    support_images: Images | None = None,
    support_labels: Labels | None = None,
    templates: Templates = PHOTO,
    alpha: float = 1.0,
    beta: float = 5.5,
) -> ClipLearned:
    """Tip-Adapter-F: as tip_adapter, and the features of the labelled images are trained on."""
    return _cached(task, support_images, support_labels, templates, alpha, beta, trained=True)


class Votes:
    """Logits `[B, C]`: those of the class names, plus `alpha` × the votes of the cache."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, model: Comparing, seen: Tensor, classes: Tensor) -> Tensor:
        return model.cosines(seen, classes) + self.alpha * model.learned_tensors(seen)


def _cached(
    task: ClipTask, images: Images | None, labels: Labels | None, templates: Templates, alpha: float, beta: float,
    trained: bool,
) -> ClipLearned:  # fmt: skip
    check_weight("alpha", alpha)
    check_weight("beta", beta)
    sentences, (keys, classes) = as_templates(templates), support(task, images, labels)
    cache = Cache(keys, classes.to(keys.device), len(task.classnames), beta, trained)
    return ClipLearned(from_templates, cache, templates=sentences, compare=Votes(alpha))


def support(task: ClipTask, images: Images | None, labels: Labels | None) -> tuple[Tensor, Tensor]:
    """Normalised features `[n, F]` of labelled images, and their classes `[n]`.

    Raises `OptionError` where either is missing or no array, one `DataError` for all that is wrong with them.
    """
    if images is None or labels is None:
        raise OptionError(f"this method keeps labelled images of its classes, and none are given; {ACCEPTED}")
    if not isinstance(images, Tensor | np.ndarray):
        raise OptionError(f"support_images is a {type(images).__name__}; {ACCEPTED}")
    shown, classes = torch.as_tensor(images), _numbers(labels)
    if faults := [*_image_faults(task, shown), *_label_faults(classes, len(task.classnames), len(shown))]:
        raise DataError(f"{'; '.join(faults)}; {ACCEPTED}")
    features = image_features(task.site.model, shown) if shown.dim() == 4 else _as_features(task, shown)
    return features, classes.long()


def _as_features(task: ClipTask, given: Tensor) -> Tensor:
    reference = next(task.site.model.visual.parameters())
    precision = torch.promote_types(reference.dtype, torch.float32)
    return F.normalize(given.to(reference.device, precision), dim=-1)


def _numbers(labels: Labels) -> Tensor:
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"support_labels is {labels!r}; {ACCEPTED}") from error


def _image_faults(task: ClipTask, images: Tensor) -> list[str]:
    shape, width = list(images.shape), task.site.features
    taken = [3, *_size(task)] if images.dim() == 4 else [width]
    fits = len(taken) == len(shape) - 1 and all(n in (None, m) for n, m in zip(taken, shape[1:], strict=True))
    if not fits or not len(images):
        size = ", ".join("any" if n is None else str(n) for n in (3, *_size(task)))
        return [f"support_images has shape {shape}; this model takes [n, {size}], or features [n, {width}]"]
    if not images.is_floating_point():
        return [f"support_images holds {images.dtype}, not floats as preprocessing makes them"]
    if broken := (~images.flatten(1).isfinite().all(1)).nonzero().flatten().tolist():
        return [f"{len(broken)} of {len(images)} support_images hold NaN or infinity, first number {broken[0]}"]
    return []


def _label_faults(labels: Tensor, classes: int, images: int) -> list[str]:
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return [f"support_labels is {labels.dtype} of shape {list(labels.shape)}, not whole numbers [n]"]
    faults = [f"{images} support_images and {len(labels)} support_labels"] if len(labels) != images else []
    if wrong := ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist():
        first = f"first number {wrong[0]} with label {int(labels[wrong[0]])}"
        faults.append(f"{len(wrong)} of {len(labels)} support_labels are outside 0 ... {classes - 1}, {first}")
    return faults


def _size(task: ClipTask) -> tuple[int | None, int | None]:
    """Height and width of the images that the tower takes; None for any."""
    tower = task.site.model.visual
    size = getattr(tower, "image_size", None)
    if size is None or getattr(getattr(tower, "trunk", None), "dynamic_img_size", False):
        return None, None
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
