"""The tokenizer that belongs to an open_clip model, by the model's name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from vpt.backbones import network
from vpt.backbones.checkpoint import brief
from vpt.backbones.clip_hub import settled
from vpt.backbones.clip_names import LOCAL, PREFIX, ClipName, check_clip_name, is_clip, parse
from vpt.backbones.embedded_clip import CONFIG, NAME
from vpt.backbones.unlogged import unlogged
from vpt.errors import OptionError, WeightsUnavailable

Tokenizer = Callable[..., Tensor]
"""`tokenizer(texts, context_length=n)` answers ids `[C, n]`."""


def load_tokenizer(name: str, folder: Path | None = None) -> Tokenizer:
    """The tokenizer of the open_clip model of that name: open_clip's own, or one of Hugging Face's transformers.

    folder: the files of the latter on this machine, instead of its published ones.
    Raises `OptionError` (unknown name, a folder for open_clip's own tokenizer, transformers not installed) or
    `WeightsUnavailable` where its files are neither on this machine nor reachable.
    """
    if not is_clip(name):
        raise OptionError(f"backbone {name!r} reads no words; accepted: {NAME}, or a name after {PREFIX}")
    check_clip_name(name)
    with unlogged():
        return _load(name, folder)


def _load(name: str, folder: Path | None) -> Tokenizer:
    given = parse(name)
    text = _text_config(name, given)
    published = text.get("hf_tokenizer_name")
    if not published:
        return _own(name, folder, text)
    if find_spec("transformers") is None:
        raise OptionError(f"the tokenizer of {name} needs Hugging Face's transformers: pip install transformers")
    if folder is None and given.model.startswith(LOCAL):
        folder = Path(given.place or "")
    return _of_hub(name, published, text) if folder is None else _of_folder(name, folder, text)


def _text_config(name: str, given: ClipName) -> dict[str, Any]:
    """What open_clip's configuration says of the text tower, a repository's from this machine where it is there."""
    import open_clip

    found: dict[str, Any] = CONFIG if name == NAME else open_clip.get_model_config(settled(name, given).model)
    text: dict[str, Any] = found["text_cfg"]
    return {"context_length": open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH, "tokenizer_kwargs": {}} | text


def _own(name: str, folder: Path | None, text: dict[str, Any]) -> Tokenizer:
    import open_clip

    if folder is not None:
        raise OptionError(f"tokenizer {str(folder)!r} given; {name} has open_clip's own, which needs no files")
    found: Tokenizer = open_clip.SimpleTokenizer(context_length=text["context_length"], **text["tokenizer_kwargs"])
    return found


def _of_hugging_face(source: str, text: dict[str, Any], **further: Any) -> Tokenizer:
    """open_clip's wrapper around a tokenizer of transformers, from a folder or a repository."""
    from open_clip.tokenizer import HFTokenizer

    given = {"tokenizer_mode": text.get("tokenizer_mode"), **text["tokenizer_kwargs"], **further}
    found: Tokenizer = HFTokenizer(source, text["context_length"], **given)
    return found


def _of_folder(name: str, folder: Path, text: dict[str, Any]) -> Tokenizer:
    try:
        return _of_hugging_face(str(folder), text, local_files_only=True)
    except (OSError, ValueError) as error:  # transformers' words for files that are not there, or no tokenizer's
        said = brief(error)
        raise WeightsUnavailable(f"the tokenizer of {name} is not in the folder {str(folder)!r}: {said}") from error


def _of_hub(name: str, repository: str, text: dict[str, Any]) -> Tokenizer:
    """From this machine's cache where it is there, so that a network that is not is never waited for."""
    for further in ({"local_files_only": True}, {}):
        try:
            return _of_hugging_face(repository, text, **further)
        except (OSError, ValueError) as error:
            said = brief(error)
        if further and (fault := network.out_of_reach(network.hub())) is not None:
            said = fault
            break
    raise WeightsUnavailable(
        f"the tokenizer of {name} is not on this machine and cannot be fetched ({said}). Fetch the files of "
        f"https://huggingface.co/{repository} on a machine that can, into a folder, and give that: backbone.tokenizer"
    )
