"""`load`: a saved task onto its own backbone, and onto no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vpt.artifacts.save import fingerprint_of
from vpt.artifacts.schema import TENSORS, Manifest, read
from vpt.errors import ArtifactError, BackboneMismatch, OptionError
from vpt.methods import Tuned, tune


def load(backbone: nn.Module, folder: Path | str, *, force: bool = False) -> Tuned:
    """The task saved in `folder` on `backbone`, in eval mode: the same logits, bit for bit, as when it was saved.

    Raises `ArtifactError` for a damaged or incomplete folder, and `BackboneMismatch`, naming both fingerprints and
    what differs, for another backbone; `force=True` takes it all the same. After an error the backbone is untouched.
    """
    folder = Path(folder)
    manifest = read(folder)
    state = read_tensors(folder, manifest)
    model = _rebuild(backbone, manifest, folder)
    try:
        if not force:
            _check_backbone(manifest.fingerprint, fingerprint_of(model), folder)
        model.load_trained_state(state)
    except BaseException:
        model.detach()
        raise
    model.options = dict(manifest.options)
    return model.eval()


def read_tensors(folder: Path, manifest: Manifest) -> dict[str, Tensor]:
    """The saved tensors by name, once size, checksum and shapes are those of the manifest."""
    path = folder / TENSORS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    expected = manifest.tensors
    if len(content) != expected["bytes"]:
        raise ArtifactError(f"{path} is damaged: it has {len(content)} bytes, not {expected['bytes']}")
    if (found := hashlib.sha256(content).hexdigest()) != expected["sha256"]:
        raise ArtifactError(f"{path} is damaged: its SHA-256 is {found}, not {expected['sha256']}")
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not a safetensors file: {error}") from error
    if {name: list(tensor.shape) for name, tensor in state.items()} != expected["shapes"]:
        raise ArtifactError(f"{path} does not hold the tensors that its configuration lists")
    return state


def _rebuild(backbone: nn.Module, manifest: Manifest, folder: Path) -> Tuned:
    """The method on the backbone with values yet to be filled in: how they once started no longer matters."""
    options = {**manifest.options, "head_init": "auto"}
    if "init" in options:
        options["init"] = "zeros"
    options.pop("init_images", None)
    try:
        tuned: Tuned = tune(
            backbone, manifest.method, num_classes=manifest.num_classes or None, path=manifest.path, **options
        )
        return tuned
    except (OptionError, TypeError) as error:
        raise ArtifactError(f"{folder}: method {manifest.method!r} cannot be rebuilt: {error}") from error


def _check_backbone(bound: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    if bound["digest"] == given["digest"]:
        return
    raise BackboneMismatch(
        f"{str(folder)!r} is bound to the backbone {bound['digest'][:16]}; this one is {given['digest'][:16]}. "
        f"What differs: {'; '.join(_differences(bound, given)) or 'the digest alone'}. force=True loads it all the same"
    )


def _differences(bound: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    for part in ("architecture", "preprocessing"):
        for key in sorted({*bound[part], *given[part]}):
            ours, theirs = bound[part].get(key), given[part].get(key)
            if ours != theirs:
                yield f"{part}: {key} {ours!r}, here {theirs!r}"
    if bound["tensors"] != given["tensors"]:
        yield f"the frozen tensors (SHA-256 {bound['tensors'][:16]}, here {given['tensors'][:16]})"
