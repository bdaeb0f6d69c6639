"""One entry of a library's log: who changed what, when and why. A file of JSON that is written once."""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from vpt.artifacts.schema import checksum
from vpt.errors import ArtifactError

SCHEMA = 1
"""Version of the format; a reader takes this one and earlier ones, and refuses later ones."""

ACTIONS = ("add", "approve", "retire", "rollback", "gate")

TYPES = {
    "number": int, "previous": str, "time": str, "by": str, "why": str, "action": str, "task": str,
    "version": int, "facts": dict, "sha256": str,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The content of `log/<number>.json`.

    number: 1, 2, ...; previous: the `sha256` of the entry before, empty for the first; time: ISO 8601, UTC.
    action: one of `ACTIONS`; version: the number that it is about, 0 for a gate, which is about the task.
    facts: of "add", what `vpt.artifacts.library.content` tells, and `origin`; of "approve", `checks`, None where
    nothing was checked; of "rollback", `to`, the version that is current again; of "gate", `gate`, None to have none.
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
    if wrong := [key for key, kind in TYPES.items() if type(found.get(key)) is not kind]:
        raise ArtifactError(f"{name} is damaged: missing or wrong are {', '.join(wrong)}")
    if found["sha256"] != checksum(found):
        raise ArtifactError(f"{name} was changed or damaged since it was written: its checksum does not agree")
    if found["action"] not in ACTIONS:
        raise ArtifactError(f"{name}: unknown action {found['action']!r}; this vpt knows {', '.join(ACTIONS)}")
    return Entry(**{key.name: found[key.name] for key in fields(Entry)})


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
