"""`load`: a saved task onto its own backbone, and onto no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vpt.artifacts.save import fingerprint_of, fingerprint_of_backbone, tokenizer_of
from vpt.artifacts.schema import TENSORS, Manifest, read
from vpt.attach import check_free
from vpt.errors import ArtifactError, BackboneMismatch, DataError, OptionError
from vpt.methods import Tuned, TunedClip, tune
from vpt.sites.clip_text import is_open_clip

Tokenizer = Callable[..., Tensor]


def load(
    backbone: nn.Module, folder: Path | str, *, tokenizer: Tokenizer | None = None, force: bool = False
) -> Tuned | TunedClip:
    """The task saved in `folder` on `backbone`, in eval mode: the same logits, bit for bit, as when it was saved.

    tokenizer: as for `vpt.tune`, which an open_clip model's text tower may need.
    Raises `ArtifactError` for a damaged or incomplete folder and for another tokenizer, and `BackboneMismatch`, naming
    both fingerprints and what differs, for another backbone; `force=True` takes these two all the same. `OptionError`
    for a backbone in use. After an error the backbone is untouched.
    """
    folder = Path(folder)
    manifest = read(folder)
    state = read_tensors(folder, manifest)
    _check_family(backbone, manifest, folder)
    if tokenizer is not None and manifest.tokenizer is None:
        raise OptionError(f"tokenizer given; {str(folder)!r} is of a timm model, which takes no tokenizer")
    check_free(backbone)
    if manifest.tokenizer is not None and not force:  # all of a CLIP is frozen: no need to build anything on another
        _check_backbone(manifest.fingerprint, fingerprint_of_backbone(backbone), folder)
    model = _rebuild(backbone, manifest, folder, tokenizer)
    try:
        if isinstance(model, TunedClip) and not force:
            _check_tokenizer(manifest.tokenizer or {}, tokenizer_of(model), folder)
        elif not force:
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


def _rebuild(backbone: nn.Module, manifest: Manifest, folder: Path, tokenizer: Tokenizer | None) -> Tuned | TunedClip:
    """The method on the backbone with values yet to be filled in: how they once started no longer matters.

    Of a CLIP's two towers one may have been fused and the other not, so that "fused" is no path to ask for.
    """
    path = "auto" if manifest.path == "fused" else manifest.path
    clip = manifest.tokenizer is not None
    options = {**manifest.options, **({"tokenizer": tokenizer} if clip else {"head_init": "auto"})}
    for start in ("init", "init_images"):
        options.pop(start, None)
    if "support_images" in options and (kept := manifest.tensors["shapes"].get("prompts.keys")):
        options |= {"support_images": torch.zeros(kept), "support_labels": [0] * kept[0]}
    try:
        tuned: Tuned | TunedClip = tune(
            backbone, manifest.method, num_classes=manifest.num_classes or None, path=path, **options
        )
        return tuned
    except (OptionError, DataError, TypeError) as error:
        raise ArtifactError(f"{folder}: method {manifest.method!r} cannot be rebuilt: {error}") from error


def _check_family(backbone: nn.Module, manifest: Manifest, folder: Path) -> None:
    """Raise `BackboneMismatch` where a task of a timm model meets an open_clip model, or the reverse."""
    bound, given = manifest.tokenizer is not None, is_open_clip(backbone)
    if bound != given:
        known, here = ("an open_clip model" if clip else "a timm model" for clip in (bound, given))
        raise BackboneMismatch(
            f"{str(folder)!r} is bound to {known}, {manifest.fingerprint['architecture'].get('class')} "
            f"{manifest.fingerprint['digest'][:16]}; given is {here}, {type(backbone).__name__}"
        )


def _check_tokenizer(bound: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    if bound != given:
        raise ArtifactError(
            f"{str(folder)!r} was trained with another tokenizer: its class names became {bound}, here {given}; "
            "give the one it was trained with: tokenizer=open_clip.get_tokenizer(...)"
        )


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
