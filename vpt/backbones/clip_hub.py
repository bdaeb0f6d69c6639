"""Weights of open_clip models: from this machine's cache, else from the network, else one error at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpt.backbones import network
from vpt.backbones.clip_names import CONFIG, HUB, LOCAL, ClipName
from vpt.errors import WeightsUnavailable

SAFE, PLAIN = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
"""What weights are called in a repository that names no file, the safe format first."""


def fetched(name: str, given: ClipName) -> Path:
    """The file of the weights under a tag. Raises `WeightsUnavailable`, naming it, where it cannot be had."""
    from open_clip.pretrained import download_pretrained

    published = given.published()
    if (cached := cached_file(published)) is not None:
        return cached
    file, where = _offered(published)
    if (fault := network.out_of_reach(network.hub() if published.get("hf_hub") else where)) is not None:
        raise _unavailable(name, fault, where, file)
    try:
        return Path(download_pretrained(published))
    except (OSError, RuntimeError) as error:
        raise _unavailable(name, str(error), where, file) from error


def settled(name: str, given: ClipName) -> ClipName:
    """A repository as the folder in which this machine has it, or as it is where the hub can be reached.

    Raises `WeightsUnavailable` where neither is so.
    """
    if not given.model.startswith(HUB):
        return given
    repository = given.place or ""
    folder = _cached(repository, CONFIG)
    if folder is not None and any((folder.parent / file).is_file() for file in (SAFE, PLAIN)):
        return ClipName(LOCAL + str(folder.parent))
    if (fault := network.out_of_reach(network.hub())) is not None:
        raise WeightsUnavailable(
            f"{name!r} is not on this machine and cannot be fetched ({fault}). Fetch {CONFIG} and {SAFE} of "
            f"https://huggingface.co/{repository} on a machine that can, into a folder, and name that: "
            f"open_clip/{LOCAL}FOLDER"
        )
    return given


def text_config(name: str, model: str) -> dict[str, Any]:
    """What open_clip's configuration says of a model's text tower.

    Where that is of Hugging Face's transformers, which look up their own configuration, it names the folder on this
    machine that has it. Raises `WeightsUnavailable` where it is neither here nor reachable.
    """
    from open_clip import get_model_config

    found: dict[str, Any] = get_model_config(model)["text_cfg"]
    inner = found.get("hf_model_name")
    if not inner:
        return found
    if (here := _cached(inner, "config.json")) is not None:
        return {**found, "hf_model_name": str(here.parent), "hf_model_pretrained": False}
    if (fault := network.out_of_reach(network.hub())) is not None:
        raise WeightsUnavailable(
            f"the text tower of {name!r} is {inner} of Hugging Face's transformers, whose configuration is not on "
            f"this machine and cannot be fetched ({fault})"
        )
    return {**found, "hf_model_pretrained": False}


def cached_file(published: dict[str, Any]) -> Path | None:
    """Where an earlier download of these weights lies on this machine, or None."""
    repository, named = _repository(published)
    if repository:
        files = (str(Path(named).with_suffix(".safetensors")), named) if named else (SAFE, PLAIN)
        return next((found for file in files if (found := _cached(repository, file)) is not None), None)
    stored = Path("~/.cache/clip").expanduser() / Path(str(published.get("url"))).name  # where open_clip puts it
    return stored if stored.is_file() else None


def _cached(repository: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def _repository(published: dict[str, Any]) -> tuple[str, str]:
    """Repository and file of `OWNER/REPOSITORY/FILE`; both are empty where weights lie elsewhere."""
    repository, _, file = str(published.get("hf_hub") or "").rpartition("/")
    return repository, file


def _offered(published: dict[str, Any]) -> tuple[str, str]:
    """The file's name and its address."""
    repository, named = _repository(published)
    if not repository:
        url = str(published.get("url"))
        return Path(url).name, url
    return named or SAFE, f"https://huggingface.co/{repository}/blob/main/{named or SAFE}"


def _unavailable(name: str, reason: str, where: str, file: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"the pretrained weights of {name!r} are not on this machine and cannot be fetched ({reason}). "
        f"Fetch {where} on a machine that can and supply the file: --checkpoint {file} "
        "(load_backbone(..., checkpoint=...)); 'embedded-clip' needs no download"
    )
