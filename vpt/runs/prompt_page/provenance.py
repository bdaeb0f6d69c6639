"""Where a page's numbers come from, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpt.runs.restore import Restored
from vpt.training.versions import versions


def provenance(saved: Restored) -> dict[str, str]:
    """What the saved task says of itself, by name: method, backbone and its fingerprint, measurements, versions."""
    manifest, fingerprint = saved.manifest, saved.manifest.fingerprint
    found = {
        "saved task": str(saved.folder),
        "method": f"{manifest.method}: {_listed(_short(manifest.options))}",
        "backbone": f"{saved.config.backbone.name}: {_listed(fingerprint['architecture'])}",
        "fingerprint of the backbone": str(fingerprint["digest"]),
        "classes": str(len(saved.classes)),
        "measured": _listed(manifest.metrics),
        "tokenizer": _listed(manifest.tokenizer or {}),
        "trained with": _listed(manifest.versions),
        "read with": _listed(versions()),
    }
    return {name: text for name, text in found.items() if text}


def _short(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "classnames"}


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_said(value)}" for name, value in facts.items() if value is not None)


def _said(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
