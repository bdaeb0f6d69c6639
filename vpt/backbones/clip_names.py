"""Names of open_clip models: `embedded-clip`, and `open_clip/` before a name of open_clip's own.

open_clip/ViT-B-32.openai           an architecture and the tag of its published weights
open_clip/ViT-B-32                  the architecture alone, for a file of weights, or random ones
open_clip/hf-hub:OWNER/REPOSITORY   a repository of the Hugging Face hub
open_clip/local-dir:FOLDER          a folder with open_clip_config.json and weights
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vpt.backbones.embedded_clip import NAME
from vpt.errors import OptionError, nearest

PREFIX, HUB, LOCAL = "open_clip/", "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
"""In a repository or a folder, the model's architecture and preprocessing."""


@dataclass(frozen=True)
class ClipName:
    """model: open_clip's own name of an architecture, a repository or a folder. tag: of published weights, if any."""

    model: str
    tag: str | None = None

    @property
    def place(self) -> str | None:
        """The repository `OWNER/REPOSITORY` or the folder that is named, or None."""
        return next((self.model.removeprefix(p) for p in (HUB, LOCAL) if self.model.startswith(p)), None)

    def published(self) -> dict[str, Any]:
        """What open_clip knows of the weights under this tag; empty without one."""
        from open_clip.pretrained import get_pretrained_cfg

        return dict(get_pretrained_cfg(self.model, self.tag)) if self.tag is not None else {}


def installed() -> bool:
    """Whether open_clip is there."""
    return find_spec("open_clip") is not None


def is_clip(name: str) -> bool:
    """Whether a backbone of that name would be one of open_clip's."""
    return name == NAME or name.startswith(PREFIX)


def parse(name: str) -> ClipName:
    """The parts of `open_clip/...`, unchecked."""
    given = name.removeprefix(PREFIX)
    if given.startswith((HUB, LOCAL)):
        return ClipName(given)
    model, dot, tag = given.partition(".")
    return ClipName(model, tag if dot else None)


def clip_names(*, pretrained: bool = False) -> list[str]:
    """The embedded CLIP, then open_clip's, with `pretrained` those with published weights; none without open_clip."""
    if not installed():
        return []
    found = _tags()
    tagged = [f"{PREFIX}{model}.{tag}" for model, tags in found.items() for tag in tags]
    return [NAME, *(tagged if pretrained else [f"{PREFIX}{model}" for model in found])]


def check_clip_name(name: str) -> None:
    """Raise `OptionError` where no open_clip model is called so."""
    if not installed():
        raise OptionError(f"backbone {name!r} needs open_clip, which is not installed: pip install 'vpt[clip]'")
    if name == NAME:
        return
    given, found = parse(name), _tags()
    if given.place is not None:
        _check_place(name, given)
    elif given.model not in found:
        hint = nearest(name, [PREFIX + model for model in found])
        raise OptionError(f"unknown backbone {name!r}{hint}; `vpt backbones {PREFIX}` lists those that there are")
    elif given.tag is not None and not given.published():
        tags = found[given.model]
        known = f"tags of {given.model}: {', '.join(tags)}" if tags else f"{given.model} has no published weights"
        hint = nearest(name, [f"{PREFIX}{given.model}.{tag}" for tag in tags])
        raise OptionError(f"unknown backbone {name!r}{hint}; {known}")


def _check_place(name: str, given: ClipName) -> None:
    place = given.place or ""
    if given.model.startswith(LOCAL) and not (Path(place) / CONFIG).is_file():
        raise OptionError(f"backbone {name!r}: there is no {CONFIG} in the folder {place!r}")
    if given.model.startswith(HUB) and (place.count("/") != 1 or not all(place.split("/"))):
        raise OptionError(f"backbone {name!r}; accepted after {HUB} is OWNER/REPOSITORY")


def _tags() -> dict[str, list[str]]:
    """open_clip's architectures with the tags of their published weights."""
    import open_clip

    return {model: open_clip.list_pretrained_tags_by_model(model) for model in open_clip.list_models()}
