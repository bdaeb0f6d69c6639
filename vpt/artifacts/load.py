"""`load`: a saved task onto its own backbone, and onto no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vpt.artifacts.binding import check_backbone, check_family, check_tokenizer
from vpt.artifacts.save import fingerprint_of, fingerprint_of_backbone, tokenizer_of
from vpt.artifacts.schema import TENSORS, Manifest, read
from vpt.attach import check_free
from vpt.errors import ArtifactError, DataError, OptionError
from vpt.methods import Tuned, TunedClip, tune

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
    check_family(backbone, manifest, folder)
    if tokenizer is not None and manifest.tokenizer is None:
        raise OptionError(f"tokenizer given; {str(folder)!r} is of a timm model, which takes no tokenizer")
    check_free(backbone)
    if manifest.tokenizer is not None and not force:  # all of a CLIP is frozen: no need to build anything on another
        check_backbone(manifest.fingerprint, fingerprint_of_backbone(backbone), folder)
    model = rebuild(backbone, manifest, folder, tokenizer)
    try:
        if isinstance(model, TunedClip) and not force:
            check_tokenizer(manifest.tokenizer or {}, tokenizer_of(model), folder)
        elif not force:
            check_backbone(manifest.fingerprint, fingerprint_of(model), folder)
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


def rebuild(backbone: nn.Module, manifest: Manifest, folder: Path, tokenizer: Tokenizer | None) -> Tuned | TunedClip:
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
