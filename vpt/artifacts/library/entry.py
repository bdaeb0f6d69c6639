"""One entry of a library's log: who changed what, when and why. A file of JSON that is written once."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from vpt.artifacts.library.facts import FACTS
from vpt.artifacts.library.facts import faults as faults_of_facts
from vpt.artifacts.schema import checksum
from vpt.errors import ArtifactError, OptionError

SCHEMA = 1
"""Version of the format; a reader takes this one and earlier ones, and refuses later ones."""

TASK = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
"""What a task may be called: it is a folder's name, too."""

LONE = re.compile("[\ud800-\udfff]")
"""What stands in a text for bytes that could not be decoded."""

TYPES = {
    "number": int, "previous": str, "time": str, "by": str, "why": str, "action": str, "task": str,
    "version": int, "facts": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The content of `log/<number>.json`.

    number: 1, 2, ...; previous: the `sha256` of the entry before, empty for the first; time: ISO 8601, UTC.
    action: one of `FACTS`; version: the number that it is about, 0 for a gate, which is about the task.
    facts: of "add", what `vpt.artifacts.library.content` tells, and `origin`; of "approve", `checks`, None where
    nothing was checked; of "rollback", `to`, the version that is current again; of "gate", `gate`, None to have none.
    `vpt.artifacts.library.facts` has them all.
    """

    number: int
    previous: str
    time: str
    by: str
    why: str
    action: str
    task: str
    version: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Digest of all of it, that of the entry before included."""
        return checksum({"schema": SCHEMA, **asdict(self)})

    def to_dict(self) -> dict[str, Any]:
        """Every field, and the digest; JSON-able."""
        return {**asdict(self), "sha256": self.sha256}

    def to_bytes(self) -> bytes:
        """The file."""
        return (json.dumps({"schema": SCHEMA, **self.to_dict()}, indent=1, allow_nan=False) + "\n").encode()


def check(entry: Entry) -> None:
    """Raises `OptionError` for an entry that `parse` would not take, before it is written."""
    if wrong := _faults(asdict(entry)):
        raise OptionError(f"{entry.action} {entry.task}: {'; '.join(wrong)}")


def parse(name: str, content: bytes) -> Entry:
    """The entry in a file called `name`. Raises `ArtifactError` where it is damaged, altered, or of a later schema."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is damaged: {error}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise ArtifactError(f"{name} is damaged: it is no entry of a log")
    if schema > SCHEMA:
        raise ArtifactError(f"{name} is of schema {schema}, from a later vpt; this one reads {SCHEMA}: upgrade vpt")
    if found.get("sha256") != checksum(found):
        raise ArtifactError(f"{name} was changed or damaged since it was written: its checksum does not agree")
    if wrong := _faults(found):
        raise ArtifactError(f"{name} cannot be: {'; '.join(wrong)}")
    return Entry(**{key.name: found[key.name] for key in fields(Entry)})


def _faults(content: Mapping[str, Any]) -> list[str]:
    """Why an entry of this content is none."""
    if wrong := [key for key, kind in TYPES.items() if type(content.get(key)) is not kind]:
        return [f"{key} is {content.get(key)!r}; accepted: {TYPES[key].__name__}" for key in wrong]
    if wrong := [key for key in ("by", "why") if LONE.search(content[key])]:
        return [f"{' and '.join(wrong)} cannot be printed: there are bytes in it that are no UTF-8"]
    if content["action"] not in FACTS:
        return [f"unknown action {content['action']!r}; this vpt knows {', '.join(FACTS)}"]
    if not TASK.fullmatch(content["task"]):
        return [f"{content['task']!r} is no name of a task"]
    return faults_of_facts(content["action"], content["facts"])


def now() -> str:
    """The time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def somebody() -> str:
    """`user@host`, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
