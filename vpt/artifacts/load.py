"""`load`: a saved task onto its own backbone, and onto no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from vpt.artifacts.binding import check_backbone, check_family, check_tokenizer
from vpt.artifacts.files import read_content
from vpt.artifacts.room import Room
from vpt.artifacts.save import fingerprint_of, fingerprint_of_backbone, finite, head_names, tokenizer_of
from vpt.artifacts.schema import TENSORS, Manifest, read
from vpt.attach import check_free
from vpt.errors import ArtifactError, OptionError, UnsupportedBackbone
from vpt.methods import Tuned, TunedClip, tune

Tokenizer = Callable[..., Tensor]

DTYPES = frozenset({
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
})  # fmt: skip
"""What stored tensors may be of."""

DIMENSIONS = 8
"""How many stored tensors may have, at most: more than any learned one, and fewer than torch's functions take."""

HARMLESS = 1024
"""A size up to which no option asks for much memory."""

WIDEST = 2**13
"""Features that a head may read."""


def load(
    backbone: nn.Module,
    folder: Path | str,
    *,
    num_classes: int | None = None,
    tokenizer: Tokenizer | None = None,
    force: bool = False,
) -> Tuned | TunedClip:
    """The task saved in `folder` on `backbone`, in eval mode: the same logits, bit for bit, as when it was saved.

    Tensors that were rounded when they were saved are taken in the model's own precision. A task without a head gets
    the backbone's own as it is, and answers with features where that has none.
    num_classes: of a task without a head, C for a fresh head that is zero, to be trained.
    tokenizer: as for `vpt.tune`, which an open_clip model's text tower may need.
    Raises `ArtifactError` for a damaged or incomplete folder and for another tokenizer, and `BackboneMismatch`, naming
    both fingerprints and what differs, for another backbone; `force=True` takes these two all the same. `OptionError`
    for a backbone in use. After an error the backbone is untouched.
    """
    folder = Path(folder)
    manifest, state = read_task(folder)
    check_family(backbone, manifest, folder)
    if tokenizer is not None and manifest.tokenizer is None:
        raise OptionError(f"tokenizer given; {str(folder)!r} is of a timm model, which takes no tokenizer")
    _check_classes(num_classes, manifest, folder)
    check_free(backbone)
    if manifest.tokenizer is not None and not force:  # all of a CLIP is frozen: no need to build anything on another
        check_backbone(manifest.fingerprint, fingerprint_of_backbone(backbone), folder)
    model = rebuild(backbone, manifest, folder, tokenizer, num_classes)
    try:
        if isinstance(model, TunedClip) and not force:
            check_tokenizer(manifest.tokenizer or {}, tokenizer_of(model), folder)
        elif not force:
            check_backbone(manifest.fingerprint, fingerprint_of(model), folder)
        model.load_trained_state(_fitted(model, state, manifest, folder))
    except BaseException:
        model.detach()
        raise
    model.options = dict(manifest.options)
    return model.eval()


def read_task(folder: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """The task saved in `folder`, as `read` and `read_tensors` answer; the new one where a save goes on meanwhile."""
    manifest = read(folder)
    while True:
        try:
            return manifest, read_tensors(folder, manifest)
        except ArtifactError:
            if (now := read(folder)) == manifest:
                raise
            manifest = now


def read_tensors(folder: Path, manifest: Manifest) -> dict[str, Tensor]:
    """The saved tensors by name, once size, checksum, shapes and values are what they can be."""
    content, path = read_content(folder, manifest), folder / TENSORS
    try:
        state = safetensors.torch.load(content)
    except Exception as error:  # a forged header fails anywhere
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ArtifactError(f"{path} is not a safetensors file: {said}") from error
    if {name: list(tensor.shape) for name, tensor in state.items()} != manifest.tensors["shapes"]:
        raise ArtifactError(f"{path} does not hold the tensors that its configuration lists")
    faults = [f"{name} is of {tensor.dtype}" for name, tensor in state.items() if tensor.dtype not in DTYPES]
    faults += [f"{name} has {tensor.dim()} dimensions" for name, tensor in state.items() if tensor.dim() > DIMENSIONS]
    faults = faults or [f"{name} holds NaN or infinity" for name, t in state.items() if not finite(t)]
    if faults:
        raise ArtifactError(f"{path} holds what no task is made of: {'; '.join(faults)}")
    return state


def rebuild(
    backbone: nn.Module, manifest: Manifest, folder: Path, tokenizer: Tokenizer | None, num_classes: int | None = None
) -> Tuned | TunedClip:
    """The method on the backbone with values yet to be filled in: how they once started no longer matters.

    Of a CLIP's two towers one may have been fused and the other not, so that "fused" is no path to ask for.
    num_classes: of a fresh, zero head for a task without one. Raises `ArtifactError` for what no method takes, and
    for options that ask for more memory than is stored.
    """
    path = "auto" if manifest.path == "fused" else manifest.path
    clip = manifest.tokenizer is not None
    start = "auto" if num_classes is None else "zeros"
    options = {**manifest.options, **({"tokenizer": tokenizer} if clip else {"head_init": start})}
    for began in ("init", "init_images"):
        options.pop(began, None)
    check_sizes(manifest, folder)
    kept = manifest.tensors["shapes"].get("prompts.keys")
    if "support_images" in options and kept and all(kept):
        options |= {"support_images": torch.zeros(kept), "support_labels": [0] * kept[0]}
    classes = manifest.num_classes or num_classes
    try:
        with Room(manifest, WIDEST * (num_classes or 0)):
            tuned: Tuned | TunedClip = tune(backbone, manifest.method, num_classes=classes, path=path, **options)
        return tuned
    except UnsupportedBackbone:
        raise
    except Exception as error:  # options from a file can be anything, and fail anywhere
        raise ArtifactError(f"{folder}: method {manifest.method!r} cannot be rebuilt: {error}") from error


def _check_classes(num_classes: int | None, manifest: Manifest, folder: Path) -> None:
    if num_classes is None or num_classes == manifest.num_classes:
        return
    if manifest.num_classes:
        raise OptionError(f"num_classes is {num_classes!r}; {str(folder)!r} has a head, of {manifest.num_classes}")
    if not isinstance(num_classes, int) or num_classes < 1:
        raise OptionError(f"num_classes is {num_classes!r}; accepted: 1 or more, or None for the backbone's own head")


def check_sizes(manifest: Manifest, folder: Path) -> None:
    """Raise `ArtifactError` for sizes that no stored tensor has, before memory is asked for."""
    stored = [n for shape in manifest.tensors["shapes"].values() if all(shape) for n in shape]
    most = max([HARMLESS, len(manifest.classes or ()), *stored])
    sizes = [("num_classes", manifest.num_classes), *_whole("", manifest.options)]
    if beyond := [f"{name} is {size}" for name, size in sizes if size > most]:
        raise ArtifactError(f"{folder}: {'; '.join(beyond)}; what is stored has no size above {most}")


def _whole(name: str, value: Any) -> Iterator[tuple[str, int]]:
    """The whole numbers in options, but for seeds, with their names."""
    if isinstance(value, int) and not name.endswith("seed"):
        yield name, value
    elif isinstance(value, list):
        yield from (found for item in value for found in _whole(name, item))
    elif isinstance(value, dict):
        yield from (found for key, item in value.items() for found in _whole(key, item))


def _fitted(model: Tuned | TunedClip, state: dict[str, Tensor], manifest: Manifest, folder: Path) -> dict[str, Tensor]:
    """The stored tensors as `cast_like` the model's, with its own head where none was stored."""
    own = model.trained_state()
    fitted = cast_like(own, state, folder)
    if isinstance(model, Tuned) and not manifest.num_classes:
        fitted |= {name: tensor for name, tensor in own.items() if name.startswith(head_names(model))}
    return fitted


def cast_like(own: Mapping[str, Tensor], state: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Stored tensors in the precision of the `own` ones of a model.

    Raises `ArtifactError` for numbers of another kind than these, or beyond what their precision holds.
    """
    known = own.keys() & state.keys()
    if wrong := [name for name in known if own[name].is_floating_point() != state[name].is_floating_point()]:
        raise ArtifactError(f"{folder}: numbers of another kind than the model's: {', '.join(sorted(wrong))}")
    fitted = {name: tensor.to(own[name].dtype) if name in known else tensor for name, tensor in state.items()}
    cast = (name for name in known if fitted[name].dtype != state[name].dtype)  # what is stored is finite
    if lost := [name for name in cast if not finite(fitted[name])]:
        raise ArtifactError(f"{folder}: the model's precision cannot hold the values of {', '.join(sorted(lost))}")
    return fitted
