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
from vpt.backbones.clip_names import LOCAL, PREFIX, check_clip_name, is_clip, parse
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
    import open_clip

    given = settled(name, parse(name))
    text: dict[str, Any] = CONFIG["text_cfg"] if name == NAME else open_clip.get_model_config(given.model)["text_cfg"]
    published = text.get("hf_tokenizer_name")
    if not published:
        if folder is not None:
            raise OptionError(f"tokenizer {str(folder)!r} given; {name} has open_clip's own, which needs no files")
        length = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
        own: Tokenizer = open_clip.SimpleTokenizer(context_length=length, **text.get("tokenizer_kwargs", {}))
        return own
    if find_spec("transformers") is None:
        raise OptionError(f"the tokenizer of {name} needs Hugging Face's transformers: pip install transformers")
    if folder is None and given.model.startswith(LOCAL):
        folder = Path(given.place or "")
    if folder is not None:
        return _of_folder(name, folder, text)
    return _of_hub(name, given.model, published)


def _of_folder(name: str, folder: Path, text: dict[str, Any]) -> Tokenizer:
    from open_clip.tokenizer import HFTokenizer

    length, mode, more = text.get("context_length"), text.get("tokenizer_mode"), text.get("tokenizer_kwargs", {})
    try:
        found: Tokenizer = HFTokenizer(str(folder), length, tokenizer_mode=mode, local_files_only=True, **more)
    except (OSError, ValueError) as error:  # transformers' words for files that are not there, or no tokenizer's
        said = brief(error)
        raise WeightsUnavailable(f"the tokenizer of {name} is not in the folder {str(folder)!r}: {said}") from error
    return found


def _of_hub(name: str, model: str, repository: str) -> Tokenizer:
    """From this machine's cache where it is there, so that a network that is not is never waited for."""
    from open_clip import get_tokenizer

    for further in ({"local_files_only": True}, {}):
        try:
            found: Tokenizer = get_tokenizer(model, **further)
            return found
        except (OSError, ValueError) as error:
            said = brief(error)
        if further and (fault := network.out_of_reach(network.hub())) is not None:
            said = fault
            break
    raise WeightsUnavailable(
        f"the tokenizer of {name} is not on this machine and cannot be fetched ({said}). Fetch the files of "
        f"https://huggingface.co/{repository} on a machine that can, into a folder, and give that: backbone.tokenizer"
    )
