"""What the facts of an entry are, action by action: no others are written, and no others are taken when read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vpt.artifacts.library.content import FILES, digest_of
from vpt.artifacts.schema import CONFIG, TENSORS, fits

FACTS: dict[str, dict[str, Any]] = {
    "add": {
        "digest": str, "files": dict[str, dict[str, Any]], "method": str, "backbone": str | None, "fingerprint": str,
        "num_classes": int, "classes": list[str] | None, "metrics": dict[str, Any], "origin": int | None,
    },
    "approve": {"checks": dict[str, Any] | None},
    "retire": {},
    "rollback": {"to": int},
    "gate": {"gate": dict[str, Any] | None},
}  # fmt: skip
"""The names of each action's facts, and their types."""

CHECKS: dict[str, Any] = {
    "gate": int, "digest": str, "current": int | None, "figures": dict[str, int | float],
    "against": dict[str, int | float] | None, "failed": list[str], "forced": bool,
}  # fmt: skip
GATE: dict[str, Any] = {
    "data": dict[str, Any], "split": str, "require": dict[str, int | float], "not_worse": int | float | None,
    "images": int, "digest": str,
}  # fmt: skip
INSIDE = {"checks": CHECKS, "gate": GATE}
FILE: dict[str, Any] = {"sha256": str, "bytes": int}
SHA256 = re.compile("[0-9a-f]{64}")
SHOWN = 100
"""Characters of a wrong value."""


def faults(action: str, facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with the facts of an entry, in words."""
    if wrong := list(_misfits(facts, FACTS[action], "facts")):
        return wrong
    if action == "add":
        return _not_a_version(facts["files"], facts["digest"])
    inside = [(name, shape) for name, shape in INSIDE.items() if facts.get(name) is not None]
    return [line for name, shape in inside for line in _misfits(facts[name], shape, name)]


def _misfits(found: Mapping[str, Any], shape: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where}.{name} is missing" for name in shape if name not in found)
    for name, value in found.items():
        if name not in shape:
            yield f"{where}.{name} is unknown"
        elif not fits(value, shape[name]):
            yield f"{where}.{name} cannot be {repr(value)[:SHOWN]}"


def _not_a_version(files: Mapping[str, Any], digest: str) -> list[str]:
    """Names are joined to folders, and digests name some: there are only those that a saved task can have."""
    if not {CONFIG, TENSORS} <= files.keys() <= FILES:
        return [f"facts.files are {', '.join(files)}; accepted: {', '.join(sorted(FILES))}"]
    if wrong := [line for name, file in files.items() for line in _misfits(file, FILE, f"facts.files.{name}")]:
        return wrong
    wrong = [
        f"facts.files.{name} has no SHA-256" for name, file in files.items() if not SHA256.fullmatch(file["sha256"])
    ]
    return wrong or ([] if digest == digest_of(files) else ["facts.digest is not that of facts.files"])
