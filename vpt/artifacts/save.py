"""`save`: what was learned, and what it belongs to, as a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor, nn

from vpt.artifacts.card import card
from vpt.artifacts.schema import CARD, CONFIG, TENSORS, Manifest
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, OptionError
from vpt.methods import Tuned, TunedClip
from vpt.methods.method import described
from vpt.sites import find, fingerprint
from vpt.sites.clip_text import is_open_clip
from vpt.sites.fingerprint import digest_tensors
from vpt.training.files import sync_folder, write_temporary
from vpt.training.versions import versions


def save(
    model: Tuned | TunedClip,
    folder: Path | str,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write the trained tensors of `model` and what they belong to into `folder`, and answer with it.

    classes: names of the C classes in the order of the logits; by default those that a `TunedClip` knows.
    preprocessing: what the model was trained with; by default what its backbone declares.
    metrics, provenance: JSON-able facts for readers; nothing depends on them.
    All files are on disk before the first is renamed into place, the configuration last, so that an interruption
    leaves the earlier task, or one that `load` refuses as damaged. Raises `OptionError`, `ArtifactError`.
    """
    folder = Path(folder)
    if classes is not None and len(classes) != model.num_classes:
        raise OptionError(f"classes has {len(classes)} names; the model has {model.num_classes} classes")
    if classes is None and isinstance(model, TunedClip):
        classes = model.classnames
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{str(folder)!r} is a file; a task is saved into a folder")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.trained_state().items()}
    if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ArtifactError(f"not saved: these tensors hold NaN or infinity: {', '.join(broken)}")
    content = safetensors.torch.save(state, metadata={"format": "pt"})
    manifest = Manifest(
        method=model.method,
        path=model.path,
        options=jsonable(model.options),
        num_classes=model.num_classes,
        classes=None if classes is None else [str(name) for name in classes],
        fingerprint=fingerprint_of(model),
        preprocessing=jsonable((preprocessing or Preprocessing.of(model.backbone)).to_dict()),
        versions=versions(),
        tensors=_describe(content, state),
        metrics=jsonable(metrics or {}),
        provenance=jsonable(provenance or {}),
        tokenizer=tokenizer_of(model) if isinstance(model, TunedClip) else None,
    )
    _write(folder, {TENSORS: content, CARD: card(manifest).encode(), CONFIG: manifest.to_json().encode()})
    return folder


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


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """All of `files` durable under temporary names, then renamed in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            written.append((write_temporary(folder / name, content), folder / name))
        for temporary, final in written:
            os.replace(temporary, final)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    sync_folder(folder)
