"""What a saved task is bound to, and what it meets: refused where these differ, with what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vpt.artifacts.schema import Manifest
from vpt.errors import ArtifactError, BackboneMismatch
from vpt.sites.clip_text import is_open_clip


def check_family(backbone: nn.Module, manifest: Manifest, folder: Path) -> None:
    """Raise `BackboneMismatch` where a task of a timm model meets an open_clip model, or the reverse."""
    bound, given = manifest.tokenizer is not None, is_open_clip(backbone)
    if bound != given:
        known, here = ("an open_clip model" if clip else "a timm model" for clip in (bound, given))
        raise BackboneMismatch(
            f"{str(folder)!r} is bound to {known}, {manifest.fingerprint['architecture'].get('class')} "
            f"{manifest.fingerprint['digest'][:16]}; given is {here}, {type(backbone).__name__}"
        )


def check_tokenizer(bound: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Raise `ArtifactError` where class names become other tokens than when the task was trained."""
    if bound != given:
        raise ArtifactError(
            f"{str(folder)!r} was trained with another tokenizer: its class names became {bound}, here {given}; "
            "give the one it was trained with: tokenizer=open_clip.get_tokenizer(...)"
        )


def check_backbone(bound: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Raise `BackboneMismatch`, with both fingerprints and what differs, where these are not of the same backbone."""
    if bound["digest"] == given["digest"]:
        return
    raise BackboneMismatch(
        f"{str(folder)!r} is bound to the backbone {bound['digest'][:16]}; this one is {given['digest'][:16]}. "
        f"What differs: {'; '.join(differences(bound, given)) or 'the digest alone'}. force=True loads it all the same"
    )


def differences(bound: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two fingerprints, part by part."""
    for part in ("architecture", "preprocessing"):
        for key in sorted({*bound[part], *given[part]}):
            ours, theirs = bound[part].get(key), given[part].get(key)
            if ours != theirs:
                yield f"{part}: {key} {ours!r}, here {theirs!r}"
    if bound["tensors"] != given["tensors"]:
        yield f"the frozen tensors (SHA-256 {bound['tensors'][:16]}, here {given['tensors'][:16]})"
