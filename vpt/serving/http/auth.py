"""Bearer tokens: who is asking, and which tasks that one may use. Only SHA-256 digests of secrets are kept."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vpt.errors import OptionError


@dataclass(frozen=True)
class Caller:
    """Who asks. tasks: patterns as of a shell (`flowers`, `team-*`). admin: may add and remove, and read metrics."""

    name: str
    tasks: tuple[str, ...]
    admin: bool = False

    def may(self, task: str) -> bool:
        """Whether this one may use a task of that name."""
        return any(fnmatchcase(task, pattern) for pattern in self.tasks)


ANYONE = Caller("anyone", ("*",), admin=True)
"""The caller where the server has no tokens."""


class Tokens:
    """Callers by the SHA-256 (hexadecimal) of their tokens."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = {digest.lower().encode(): caller for digest, caller in callers.items()}

    @classmethod
    def read(cls, file: Path, environment: Mapping[str, str] | None = None) -> Tokens:
        """The tokens of a YAML file, which holds no secret: a digest, or the environment variable of the token.

            tokens:
              - {name: shop, sha256: 9f86d0..., tasks: [flowers, "shop-*"]}
              - {name: operator, env: VPT_OPERATOR_TOKEN, tasks: ["*"], admin: true}

        Raises `OptionError`, naming each wrong entry, for a file that cannot be read, unknown or missing fields,
        variables that are not set, and two entries with one token or one name.
        """
        found: dict[str, Caller] = {}
        for entry in _parse(file):
            digest = entry.digest(os.environ if environment is None else environment, file)
            if digest in found or entry.name in (known.name for known in found.values()):
                raise OptionError(f"{file}: {entry.name!r} has the token or the name of another entry")
            found[digest] = Caller(entry.name, tuple(entry.tasks), entry.admin)
        return cls(found)

    def caller(self, token: bytes) -> Caller | None:
        """Whose token this is. Every digest is compared, each in constant time, so that timing tells nothing."""
        digest, found = hashlib.sha256(token).hexdigest().encode(), None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1)]
    tasks: list[str]
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    env: str | None = None
    admin: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> _Entry:
        if (self.sha256 is None) == (self.env is None):
            raise ValueError("needs either sha256 (of the token) or env (a variable that holds it)")
        return self

    def digest(self, environment: Mapping[str, str], file: Path) -> str:
        if self.sha256 is not None:
            return self.sha256.lower()
        secret = os.fsencode(environment.get(self.env or "", "")).strip()  # what reads a file leaves its last newline
        if not secret:  # nor is the variable named: somebody may have put the secret in the place of its name
            raise OptionError(f"{file}: {self.name!r} has its token in a variable that is not set (its field `env`)")
        return hashlib.sha256(secret).hexdigest()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tokens: Annotated[list[_Entry], Field(min_length=1)]


def _parse(file: Path) -> Sequence[_Entry]:
    """What an error says of the file names fields and never their values: somebody may have put a secret there."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
    except OSError as error:
        raise OptionError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # OmegaConf lets the YAML parser's own errors through, which quote the file
        raise OptionError(f"{file} is not YAML; accepted: a list under `tokens`") from error
    try:
        return _File.model_validate(content).tokens
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()]
        raise OptionError(f"{file}: {'; '.join(faults)}") from error
