"""Tasks of a library and another backbone: which of them are bound to what it no longer is, and training them anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from vpt.artifacts import Manifest, find_artifact, load, read
from vpt.artifacts.binding import differences
from vpt.artifacts.library import Library, Version
from vpt.artifacts.save import fingerprint_of_backbone
from vpt.errors import ArtifactError, OptionError
from vpt.methods import describe
from vpt.runs.checks import check
from vpt.runs.config import BackboneConfig, RunConfig
from vpt.runs.prepare import prepare_backbone
from vpt.runs.reading import from_dict
from vpt.runs.run import run

OF_IMAGES = ("init_images", "support_images", "support_labels")
"""Options of methods that a run fills in from its training images."""


@dataclass(frozen=True)
class Stale:
    """A version that is bound to another backbone, and what differs."""

    version: Version
    why: str


def stale(library: Library, config: BackboneConfig) -> list[Stale]:
    """The versions, but for retired ones, that `vpt.load` would refuse on this backbone."""
    backbone = prepare_backbone(config)
    given = fingerprint_of_backbone(backbone)
    found = []
    for version in (v for state in library.states().values() for v in state.versions if v.state != "retired"):
        if version.fingerprint == given["digest"]:
            continue
        folder = library.open(version.task, version.number)
        if not _loads(backbone, folder):
            why = "; ".join(differences(read(folder).fingerprint, given)) or "the digest alone"
            found.append(Stale(version, why))
    return found


def _loads(backbone: nn.Module, folder: Path) -> bool:
    """Whether it is the backbone all the same: of methods that train parts of it, only the others are compared."""
    try:
        load(backbone, folder).detach()
    except ArtifactError:
        return False
    return True


def subject(library: Library, task: str) -> Version:
    """The version of a task that stands for it: the current one, else the newest that is not retired."""
    state = library.state(task)
    kept = [version for version in state.versions if version.state != "retired"]
    if not kept:
        raise OptionError(f"{task}: all versions are retired; there is nothing to train anew")
    return state.current or kept[-1]


def stale_subjects(library: Library, config: BackboneConfig) -> Iterator[Version]:
    """Those of the stale versions that stand for their tasks."""
    for one in stale(library, config):
        if one.version == subject(library, one.version.task):
            yield one.version


def retrain(
    library: Library,
    version: Version,
    backbone: BackboneConfig,
    out: Path,
    *,
    why: str = "",
    by: str | None = None,
    quiet: bool = False,
) -> Version:
    """Train a version's method on its data and another backbone, in the folder `out/TASK-NUMBER`, and add the result.

    What comes of it is a draft whose entry says which version it came from. Done again, an interrupted training goes
    on, and a finished one is added once. Raises `OptionError` where the artefact does not say how it was trained.
    """
    folder = out / f"{version.task}-{version.number}"
    config = configuration(read(library.open(version.task, version.number)), backbone, str(version))
    run(replace(config, out=folder), quiet=quiet)
    said = why or f"version {version.number} on {backbone.name}"
    return library.add(find_artifact(folder), version.task, why=said, by=by, origin=version.number)


def configuration(manifest: Manifest, backbone: BackboneConfig, name: str) -> RunConfig:
    """How an artefact called `name` was trained, on another backbone. Raises `OptionError` listing what cannot be."""
    if missing := [part for part in ("data_config", "train") if not manifest.part(part)]:
        raise OptionError(f"{name} does not say how it was trained: its provenance lacks {', '.join(missing)}")
    own = describe(manifest.method, "timm" if manifest.tokenizer is None else "open_clip").options
    options = {key: v for key, v in manifest.options.items() if key in own and key not in OF_IMAGES}
    method = {
        "name": manifest.method,
        "path": "auto" if manifest.path == "fused" else manifest.path,
        "head_init": manifest.options.get("head_init", "auto"),
        "options": options,
    }
    used, declared = manifest.preprocessing or {}, manifest.fingerprint["preprocessing"]
    set_by_run = {key: used[key] for key in ("interpolation", "antialias") if used.get(key) != declared.get(key)}
    config = from_dict(
        {
            "data": manifest.part("data_config"),
            "train": manifest.part("train"),
            "method": method,
            "preprocessing": set_by_run,
            "card": {"licence": manifest.licence, "intended_use": manifest.intended_use},
            "seeds": [manifest.provenance.get("seed", 0)],
        }
    )
    config = replace(config, backbone=backbone)
    faults = [f"method.options.{key}: {v} cannot be had again" for key, v in options.items() if _array(v)]
    if faults := [*faults, *check(config)]:
        raise OptionError(f"{name} cannot be trained on {backbone.name!r}:\n" + "\n".join(f"  {f}" for f in faults))
    return config


def _array(value: Any) -> bool:
    """Whether it is the description that stands for an array."""
    return isinstance(value, str) and value.startswith("<array")
