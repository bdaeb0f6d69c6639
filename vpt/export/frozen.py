"""What every export starts from: a copy of the model, images and the logits it gave for them, and facts about it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vpt.artifacts.save import fingerprint_of, jsonable
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, OptionError
from vpt.methods import Tuned, TunedClip
from vpt.training.versions import versions

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far an export's logits may be from the model's, as a share of the largest of these."""

BATCHES = (1, 3)
"""Images in the batches that an export is checked with."""


@dataclass(frozen=True)
class Frozen:
    """A model to be exported.

    model: a copy, in eval and in main memory, with which anything may be done.
    images, logits: random images `[B, 3, H, W]`, and the logits `[B, C]` that the model gave for them.
    facts: JSON-able; who runs the export needs no more.
    """

    model: Tuned | TunedClip
    images: Tensor
    logits: Tensor
    facts: dict[str, Any]

    def check(self, what: str, run: Callable[[Tensor], Tensor]) -> None:
        """Raise `ArtifactError`, with the distance, where `run` gives other logits than the model."""
        for batch in BATCHES:
            got, expected = run(self.images[:batch]), self.logits[:batch]
            distance = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
            if not distance <= TOLERANCE[expected.dtype]:  # nor where it is NaN
                raise ArtifactError(
                    f"{what} is not left: for {batch} images its logits are {distance:.1e} of the largest away from "
                    f"the model's; accepted: {TOLERANCE[expected.dtype]:.0e}"
                )


@torch.no_grad()
def freeze(
    model: Tuned | TunedClip, classes: Sequence[str] | None = None, preprocessing: Preprocessing | None = None
) -> Frozen:
    """A copy of `model` for export; the model is left as it is.

    classes: names of the C classes in the order of the logits; by default those that a `TunedClip` knows.
    preprocessing: what the model was trained with; by default what its backbone declares.
    Raises `OptionError` for another number of names, for half precision, for a model that was detached or was
    never tuned, and for a preprocessing that makes images of a size which the model does not take.
    """
    if not isinstance(model, Tuned | TunedClip):
        raise OptionError(f"the model is a {type(model).__name__}; exported is what vpt.tune or vpt.load answers")
    model.trainable()  # which says so of a detached model
    if classes is not None and len(classes) != model.num_classes:
        raise OptionError(f"classes has {len(classes)} names; the model has {model.num_classes} classes")
    dtype = model.input_dtype if isinstance(model, TunedClip) else next(model.backbone.parameters()).dtype
    if dtype not in TOLERANCE:
        raise OptionError(f"the model is in {dtype}; exported are float32 and float64: call model.float() first")
    preprocessing = preprocessing or Preprocessing.of(model)
    twin = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(max(BATCHES), 3, *preprocessing.size, dtype=dtype, generator=generator)
    logits = _logits(twin, images)
    return Frozen(twin, images, logits, _facts(twin, logits, classes, preprocessing))


def _logits(model: Tuned | TunedClip, images: Tensor) -> Tensor:
    try:
        logits: Tensor = model(images)
    except Exception as error:  # whatever a backbone says of images of another size than its own
        height, width = images.shape[2:]
        raise OptionError(
            f"preprocessing makes images of {height} x {width}, which the model does not take: {error}"
        ) from error
    return logits


def _facts(
    model: Tuned | TunedClip, logits: Tensor, classes: Sequence[str] | None, preprocessing: Preprocessing
) -> dict[str, Any]:
    names = model.classnames if classes is None and isinstance(model, TunedClip) else classes
    size, dtype = list(preprocessing.size), str(logits.dtype).removeprefix("torch.")
    return {
        "method": model.method,
        "options": jsonable(model.options),
        "classes": None if names is None else [str(name) for name in names],
        "images": {"shape": ["batch", 3, *size], "dtype": dtype},
        "logits": {"shape": ["batch", *logits.shape[1:]], "dtype": dtype},
        "preprocessing": preprocessing.to_dict(),
        "fingerprint": fingerprint_of(model),
        "versions": versions(),
    }
