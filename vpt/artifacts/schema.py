"""`vpt_config.json`: what a saved task says of itself, checked before anything is built from it."""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from vpt.data import Preprocessing
from vpt.errors import ArtifactError, OptionError

SCHEMA = 3
"""Version of the format; a reader takes this one and earlier ones, and refuses later ones."""

LATER: dict[str, int] = {"tokenizer": 2, "dtype": 3, "head": 3, "licence": 3, "intended_use": 3}
"""Fields that came with a later schema, and with which; a task is written with the earliest that has all it needs."""

CONFIG, TENSORS, CARD = "vpt_config.json", "vpt_model.safetensors", "README.md"

NEXT = TENSORS + ".next"
"""The tensors of a save under way: theirs are the values where an interruption left them and a new configuration."""

INSIDE: dict[str, dict[str, Any]] = {
    "fingerprint": {"digest": str, "architecture": dict[str, Any], "tensors": str, "preprocessing": dict[str, Any]},
    "tensors": {"sha256": str, "bytes": int, "shapes": dict[str, list[int]]},
    "tokenizer": {"context_length": int, "tokens": str},
}
"""What is needed inside fields that are objects."""

SAID = ("classes", "licence", "intended_use")
"""Fields that are shown to people, and sent to them as UTF-8."""


@dataclass(frozen=True)
class Manifest:
    """The content of `vpt_config.json`.

    options: the method's full options; values that are not JSON (arrays, images) stand as a description in brackets.
    num_classes, classes: 0 and None for a task without a head, which answers with features or has its backbone's head.
    fingerprint: of the backbone, as `vpt.sites.fingerprint` answers, its preprocessing the one the backbone declares.
    preprocessing: the one the task was trained with; None where it was not recorded.
    tensors: `{"sha256", "bytes", "shapes": {name: [..]}}` of the tensor file.
    tokenizer: of a task of class names, `{"context_length", "tokens"}`: a SHA-256 of what it made of them.
    dtype: what floating tensors were rounded to, e.g. "float16"; None where they are as they were trained.
    head: False where there was a head that was left out.
    licence: an SPDX identifier, or other words; None where nothing was said. intended_use: in words.
    """

    method: str
    path: str
    options: dict[str, Any]
    num_classes: int
    classes: list[str] | None
    fingerprint: dict[str, Any]
    preprocessing: dict[str, Any] | None
    versions: dict[str, str]
    tensors: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] | None = None
    dtype: str | None = None
    head: bool = True
    licence: str | None = None
    intended_use: str | None = None

    def part(self, name: str) -> dict[str, Any]:
        """What `provenance` says under `name` where that is an object, as `vpt train` writes it; empty elsewhere."""
        found = self.provenance.get(name)
        return found if isinstance(found, dict) else {}

    def to_json(self) -> str:
        """The file's text, with the schema version and a checksum of all other fields."""
        unsaid = {f.name for f in fields(self) if f.name in LATER and getattr(self, f.name) == f.default}
        facts = {name: value for name, value in asdict(self).items() if name not in unsaid}
        content = {"schema": max([1, *(LATER[name] for name in LATER if name in facts)]), **facts}
        return json.dumps({**content, "sha256": checksum(content)}, indent=2, allow_nan=False) + "\n"


def checksum(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON object in canonical form, its own `sha256` field left out."""
    rest = {k: v for k, v in content.items() if k != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_artifact(folder: Path) -> bool:
    """Whether `folder` holds a saved task."""
    return (folder / CONFIG).is_file()


def read(folder: Path | str) -> Manifest:
    """The manifest of the task saved in `folder`; no tensor is read.

    Raises `ArtifactError` for a folder without one, for damage, missing or wrong fields (all listed), a later schema.
    """
    path = Path(folder) / CONFIG
    content = _parse(path)
    _check_schema(path, content.get("schema"))
    known = {f.name for f in fields(Manifest)}
    if wrong := faults(content):
        raise ArtifactError(f"{path}: " + "; ".join(wrong))
    if content["sha256"] != checksum(content):
        raise ArtifactError(f"{path} was changed or damaged since it was written: its checksum does not agree")
    return Manifest(**{k: v for k, v in content.items() if k in known})


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse)
    except FileNotFoundError as error:
        raise ArtifactError(f"{str(path.parent)!r} is not a saved task: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are both ValueErrors
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _check_schema(path: Path, schema: Any) -> None:
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ArtifactError(f"{path} states no valid schema version: {schema!r}; this vpt reads {SCHEMA}")
    if schema > SCHEMA:
        raise ArtifactError(f"{path} is of schema {schema}, from a later vpt; this one reads {SCHEMA}: upgrade vpt")


def faults(content: Mapping[str, Any]) -> list[str]:
    """What is wrong with the fields of a configuration: a line for each that is missing, strange or contradictory."""
    return [*_misfits(content)] or [*_contradictions(content)]


def _misfits(content: Mapping[str, Any]) -> Iterator[str]:
    """One line per field that is missing, of a wrong type or unknown."""
    hints = _hints()
    yield from (f"field {name!r} is missing" for name in hints if name not in content and name not in LATER)
    for name, hint in hints.items():
        if name in content and not fits(content[name], hint):
            yield f"field {name!r} is a {type(content[name]).__name__}, not a {_say(hint)}"
    yield from (f"field {name!r} is unknown" for name in content if name not in hints and name != "schema")
    for outer, wanted in INSIDE.items():
        if isinstance(held := content.get(outer), dict):
            yield from (
                f"field '{outer}.{k}' is missing or wrong" for k, t in wanted.items() if not fits(held.get(k), t)
            )


@cache
def _hints() -> dict[str, Any]:
    return {**get_type_hints(Manifest), "sha256": str}


def _contradictions(content: Mapping[str, Any]) -> Iterator[str]:
    """One line per field that is of the right type and says what cannot be."""
    count, names = content["num_classes"], content["classes"]
    if count < 0 or (names is not None and len(names) != count):
        yield f"field 'num_classes' is {count}, with {len(names or ())} names in 'classes'"
    if content.get("head") is False and count:
        yield f"field 'head' is False, with {count} in 'num_classes'"
    for name in SAID:
        said = content.get(name) or ""
        try:
            "\n".join(said if isinstance(said, list) else [said]).encode()
        except UnicodeEncodeError as error:  # made of a file's name that is no text
            line = error.object[: error.end].splitlines()[-1]
            yield f"field {name!r} holds {line!r}, which is no text of UTF-8"
    if content["preprocessing"] is not None:
        try:
            Preprocessing.from_dict(content["preprocessing"])
        except (OptionError, TypeError, ValueError) as error:
            yield f"field 'preprocessing' is wrong: {error}"


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a type such as `int`, `str | None`, `list[str]` or `dict[str, Any]`."""
    if hint is Any or type(value) is hint:
        return True
    origin, inner = _parts(hint)
    if origin is types.UnionType:
        return any(fits(value, option) for option in inner)
    if origin is list:
        return isinstance(value, list) and _all_fit(value, inner[0])
    if origin is dict:  # of strings, as all of JSON's are
        return isinstance(value, dict) and _all_fit(value.values(), inner[1])
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _all_fit(values: Collection[Any], hint: Any) -> bool:
    return hint is Any or {*map(type, values)} <= {hint} or all(fits(value, hint) for value in values)


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


def _say(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
