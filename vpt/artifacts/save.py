"""`save`: what was learned, and what it belongs to, as a folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from vpt.artifacts.card import card
from vpt.artifacts.files import write_files
from vpt.artifacts.schema import Manifest, faults
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, OptionError, unknown
from vpt.methods import Tuned, TunedClip
from vpt.methods.method import described
from vpt.sites import find, fingerprint
from vpt.sites.clip_text import is_open_clip
from vpt.sites.fingerprint import digest_tensors
from vpt.training.versions import versions

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""What floating tensors can be rounded to, at half the size."""


def save(
    model: Tuned | TunedClip,
    folder: Path | str,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    head: bool = True,
    licence: str | None = None,
    intended_use: str | None = None,
) -> Path:
    """Write the trained tensors of `model` and what they belong to into `folder`, and answer with it.

    classes: names of the C classes in the order of the logits; by default those that a `TunedClip` knows.
    preprocessing: what the model was trained with; by default what its backbone declares.
    metrics, provenance: JSON-able facts for readers; nothing depends on them.
    dtype: a key of `DTYPES`, to round floating tensors to; None keeps all bits.
    head: False leaves the head of a timm model out, so that prompts alone are stored, for heads that are yet to come.
    licence: an SPDX identifier, e.g. "Apache-2.0", or other words. intended_use: what the task is for, in words.
    At every moment `folder` holds the earlier task or this one, whatever interrupts. Raises `OptionError`, also for
    names and words that are no text of UTF-8, and `ArtifactError` for values that are not finite.
    """
    folder = Path(folder)
    if classes is not None and len(classes) != model.num_classes:
        raise OptionError(f"classes has {len(classes)} names; the model has {model.num_classes} classes")
    if classes is not None and not head:
        raise OptionError("classes given with head=False; a task without its head has no classes")
    if classes is None and isinstance(model, TunedClip):
        classes = model.classnames
    state = _rounded(_finite(model.trained_state() if head else _headless(model)), dtype)
    content = safetensors.torch.save(state, metadata={"format": "pt"})
    manifest = Manifest(
        method=model.method,
        path=model.path,
        options=jsonable(model.options),
        num_classes=model.num_classes if head else 0,
        classes=None if classes is None else [str(name) for name in classes],
        fingerprint=fingerprint_of(model),
        preprocessing=jsonable((preprocessing or Preprocessing.of(model.backbone)).to_dict()),
        versions=versions(),
        tensors=_describe(content, state),
        metrics=jsonable({} if metrics is None else metrics),
        provenance=jsonable({} if provenance is None else provenance),
        tokenizer=tokenizer_of(model) if isinstance(model, TunedClip) else None,
        dtype=dtype,
        head=head,
        licence=licence,
        intended_use=intended_use,
    )
    if wrong := faults({**vars(manifest), "sha256": ""}):
        raise OptionError(f"not saved, as it could not be read again: {'; '.join(wrong)}")
    write_files(folder, content, manifest.to_json().encode(), card(manifest).encode())
    return folder


def _headless(model: Tuned | TunedClip) -> dict[str, Tensor]:
    """The trained tensors but a head's. Raises `OptionError` where nothing is left, and for an open_clip model."""
    if isinstance(model, TunedClip):
        raise OptionError(f"head=False is for timm models; {model.method!r} classifies by texts, and has no such head")
    left = {name: tensor for name, tensor in model.trained_state().items() if not name.startswith(head_names(model))}
    if not left:
        raise OptionError(f"head=False leaves nothing of method {model.method!r}, which learns the head alone")
    return left


def head_names(model: Tuned) -> tuple[str, ...]:
    """How the names of its heads' tensors begin."""
    return tuple(f"backbone.{name}." for name in model.site.heads)


def _finite(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if broken := [name for name, tensor in state.items() if not finite(tensor)]:
        raise ArtifactError(f"not saved: these tensors hold NaN or infinity: {', '.join(broken)}")
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN, which any smallest and largest number become, nor infinity."""
    if not tensor.is_floating_point() or not tensor.numel():
        return bool(tensor.isfinite().all())
    return all(math.isfinite(edge.item()) for edge in tensor.aminmax())


def _rounded(state: dict[str, Tensor], dtype: str | None) -> dict[str, Tensor]:
    """Floating tensors in `dtype`. Raises `OptionError` for an unknown one, and for values beyond its largest."""
    if dtype is None:
        return state
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    rounded = {name: t.to(DTYPES[dtype]) if t.is_floating_point() else t for name, t in state.items()}
    if lost := [name for name, tensor in rounded.items() if not finite(tensor)]:
        most = torch.finfo(DTYPES[dtype]).max
        raise OptionError(f"dtype={dtype!r} ends at {most:g}; these tensors hold larger values: {', '.join(lost)}")
    return rounded


def fingerprint_of(model: Tuned | TunedClip) -> dict[str, Any]:
    """The fingerprint of the frozen base under `model`, with the preprocessing that the base itself declares.

    Of a CLIP that is all of it: both towers, and what scales and shifts logits.
    """
    return _fingerprint(model.backbone, model.frozen_state())


def tokenizer_of(model: TunedClip) -> dict[str, Any]:
    """What a tuned CLIP's tokenizer makes of its class names, and how many tokens a text has."""
    return {"context_length": model.site.context_length, "tokens": digest_tensors(model.tokens())}


def fingerprint_of_backbone(backbone: nn.Module) -> dict[str, Any]:
    """The fingerprint of a backbone that nothing was done to: of all its tensors but a timm model's head."""
    heads = () if is_open_clip(backbone) else tuple(f"{name}." for name in find(backbone).heads)
    return _fingerprint(backbone, {n: t for n, t in backbone.state_dict().items() if not n.startswith(heads)})


def _fingerprint(backbone: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        declared = jsonable(Preprocessing.of(backbone).to_dict())
    except OptionError:  # an image tower of someone's own, which tells nothing
        declared = {}
    return fingerprint(backbone, tensors, declared)


def jsonable(value: Any) -> Any:
    """`value` in JSON's own types; arrays and what JSON has no word for become a description in brackets."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else f"<{value}>"
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Tensor | np.ndarray):
        return described(value)
    if isinstance(value, Sequence | set | frozenset):
        return [jsonable(v) for v in value]
    return f"<{type(value).__name__}>"


def _describe(content: bytes, state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "shapes": {name: list(tensor.shape) for name, tensor in state.items()},
    }
