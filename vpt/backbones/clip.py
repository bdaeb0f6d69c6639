"""open_clip's models by name, built and filled by open_clip itself, all of their weights or one clear error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from vpt.backbones.checkpoint import SUFFIXES, brief, check_file, read
from vpt.backbones.clip_hub import fetched, settled, text_config
from vpt.backbones.clip_names import ClipName, check_clip_name, parse
from vpt.backbones.embedded_clip import NAME, embedded_clip
from vpt.backbones.unlogged import unlogged
from vpt.errors import OptionError, VptError, WeightsUnavailable

NUMPY = ".npz"
"""The suffix of SigLIP's published files, which open_clip reads too."""


def load_clip(
    name: str, *, checkpoint: Path | None = None, image_size: int | None = None, pretrained: bool = True
) -> nn.Module:
    """A stock open_clip model by one of the names that `vpt.backbones.clip_names` describes, in eval mode.

    A tag brings what its weights were trained with: their preprocessing, and QuickGELU where that was the activation.
    checkpoint: a file of weights on this machine; under a name with a tag, that tag's.
    image_size: height and width in pixels, where not the model's own; position embeddings are resampled.
    pretrained: False for random weights.
    Raises `OptionError` (unknown name, weights of another model) or `WeightsUnavailable`.
    """
    check_clip_name(name)
    if checkpoint is not None:
        check_file(checkpoint, (*SUFFIXES, NUMPY))
    given = parse(name)
    with _in_words(name, checkpoint, image_size, pretrained), unlogged():
        if name == NAME:
            model: nn.Module = embedded_clip(image_size, checkpoint=checkpoint, pretrained=pretrained)
        elif given.place is None:
            model = _of_architecture(name, given, checkpoint, image_size, pretrained)
        else:
            model = _of_place(name, given, checkpoint, image_size, pretrained)
    if 0 in getattr(model.visual, "grid_size", ()):
        raise OptionError(f"{name}: image_size is {image_size}, less than one of its patches")
    return model.eval()


def _of_architecture(
    name: str, given: ClipName, checkpoint: Path | None, image_size: int | None, pretrained: bool
) -> nn.Module:
    import open_clip

    file = checkpoint or (_published_file(name, given) if pretrained else None)
    known = given.published()
    model: nn.Module = open_clip.create_model(
        given.model,
        None if file is None else str(file),
        force_quick_gelu=bool(known.get("quick_gelu")),
        force_image_size=image_size,
        force_preprocess_cfg=known,
        pretrained_text=False,
        text_cfg=text_config(name, given.model),
    )
    return model


def _of_place(
    name: str, given: ClipName, checkpoint: Path | None, image_size: int | None, pretrained: bool
) -> nn.Module:
    import open_clip

    own, place = pretrained and checkpoint is None, settled(name, given).model
    model: nn.Module = open_clip.create_model(
        place,
        load_weights=own,
        require_pretrained=own,
        force_image_size=image_size,
        pretrained_text=False,
        text_cfg=text_config(name, place),
    )
    if checkpoint is not None:
        open_clip.load_checkpoint(model, str(checkpoint))
    return model


def _published_file(name: str, given: ClipName) -> Path:
    if given.tag is not None:
        return fetched(name, given)
    raise WeightsUnavailable(
        f"{name!r} names no weights; give the tag of published ones, {name}.TAG "
        f"(`vpt backbones {name}. --pretrained` lists them), a file by --checkpoint, or pretrained=false"
    )


@contextmanager
def _in_words(name: str, checkpoint: Path | None, image_size: int | None, pretrained: bool) -> Iterator[None]:
    """What goes wrong in open_clip, whose ways of saying so are many, as errors of ours."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'torch.load' received a zip file", UserWarning)  # an error tells of it
            yield
    except VptError:
        raise
    except Exception as error:
        said = brief(error)
        if checkpoint is not None:
            raise _misfit(name, checkpoint, said) from error
        if image_size is not None:
            raise OptionError(
                f"{name} cannot be built for images of {image_size} × {image_size} pixels: {said}"
            ) from error
        if pretrained:
            raise WeightsUnavailable(f"the weights of {name} cannot be loaded: {said}") from error
        raise


def _misfit(name: str, file: Path, said: str) -> VptError:
    """Why a file did not fill a model: it cannot be read, or is another's."""
    if "TorchScript" in said:
        return WeightsUnavailable(
            f"checkpoint {str(file)!r} is a TorchScript archive, a program, and is not loaded for safety; "
            "supply the same weights as .safetensors, as the hub has them"
        )
    try:
        if file.suffix in SUFFIXES:
            read(file)
    except VptError as unreadable:
        return unreadable
    return OptionError(f"the weights in {file} are not those of {name}: {said}")
