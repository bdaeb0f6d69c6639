"""`vpt library list | show | log | diff | verify | stale`: what only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpt.cli.library_options import (
    Backbone,
    Checkpoint,
    ImageSize,
    Json,
    Number,
    Task,
    Tokenizer,
    Url,
    library_at,
    shown,
    standing,
)
from vpt.errors import ArtifactError, some
from vpt.runs.console import facts, note, table

if TYPE_CHECKING:
    from vpt.artifacts.library import Difference, Entry, TaskState, Version


def list_versions(url: Url, json: Json = False) -> None:
    """List all versions of all tasks."""
    versions = [(state, version) for state in library_at(url).states().values() for version in state.versions]
    if json:
        _print([_with_standing(state, version) for state, version in versions])
        return
    rows = [
        [v.task, str(v.number), standing(state, v), v.method, v.backbone or "-", str(v.num_classes), _accuracy(v),
         f"{v.bytes:,}", v.added[:19], v.by]
        for state, v in versions
    ]  # fmt: skip
    table(["task", "version", "state", "method", "backbone", "classes", "accuracy", "bytes", "added", "by"], rows)


def show(url: Url, task: Task, number: Number = None, json: Json = False) -> None:
    """Show one version, by default the current one: what it is, what was measured, and what became of it."""
    opened = library_at(url)
    state = opened.state(task)
    version = shown(state, task, number)
    history = [entry for entry in opened.log(task) if version.number in (entry.version, entry.facts.get("to"))]
    if json:
        gate = state.gate and state.gate.facts["gate"]
        known = {"gate": gate, "history": [entry.to_dict() for entry in history]}
        _print({**_with_standing(state, version), **known})
        return
    origin = {} if version.origin is None else {"retrained from": str(version.origin)}
    facts(
        str(version),
        {
            "state": standing(state, version),
            "method": version.method,
            "backbone": version.backbone or "-",
            "fingerprint": version.fingerprint,
            "classes": f"{version.num_classes}: {some(version.classes)}"
            if version.classes
            else str(version.num_classes),
            **{name: _value(value) for name, value in version.metrics.items()},
            "bytes": f"{version.bytes:,}",
            "digest": version.digest,
            **origin,
            "gate": _gate(state.gate),
        },
    )
    _table_of(history)


def log(
    url: Url,
    task: Annotated[str | None, typer.Argument(help="By default all tasks.")] = None,
    json: Json = False,
) -> None:
    """Print who changed what, when and why."""
    entries = library_at(url).log(task)
    if json:
        _print([entry.to_dict() for entry in entries])
    else:
        _table_of(entries)


def diff(
    url: Url,
    task: Task,
    a: Annotated[int, typer.Argument(help="A version.")],
    b: Annotated[int, typer.Argument(help="Another.")],
    json: Json = False,
) -> None:
    """Tell how two versions differ: options, metrics, data, backbone, and how far each learned tensor moved."""
    from vpt.artifacts.library import compare

    found = compare(library_at(url), task, a, b)
    if json:
        _print([difference.to_dict() for difference in found])
    elif found:
        rows = [[d.name, _value(d.a), _value(d.b), _distance(d)] for d in found]
        table(["", f"{task} {a}", f"{task} {b}", "relative L2 distance"], rows)
    else:
        print(f"{task} {a} and {task} {b} do not differ")


def verify(
    url: Url,
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete files an hour old that the log does not name.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the log's chain and every byte of every version; lists all that is wrong, and then fails."""
    opened = library_at(url)
    faults = opened.verify()
    left = [] if faults else opened.orphans()
    gone = opened.clean() if clean and not faults else []
    if json:
        _print({"faults": faults, "orphans": left, "deleted": gone})
    elif left:
        kept = [name for name in left if name not in gone]
        note(f"not in the log, left by writers that were interrupted or are at work: {some(left)}")
        note(f"{len(gone)} deleted, {len(kept)} kept" + ("" if clean else "; --clean deletes those an hour old"))
    if faults:
        raise ArtifactError("\n".join([f"{url}: {len(faults)} faults:", *faults]))
    if not json:
        versions = sum(len(state.versions) for state in opened.states().values())
        print(f"{url}: whole, {opened.head()} entries, {versions} versions")


def stale(
    url: Url,
    backbone: Backbone,
    checkpoint: Checkpoint = None,
    image_size: ImageSize = None,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """List the versions that are bound to another backbone than this one, and what differs."""
    from vpt.runs.config import BackboneConfig
    from vpt.runs.retrain import stale as find

    opened = library_at(url)
    config = BackboneConfig(backbone, checkpoint, image_size, tokenizer=tokenizer)
    found = find(opened, config)
    states = opened.states()
    if json:
        _print([{**_with_standing(states[one.version.task], one.version), "differs": one.why} for one in found])
    elif found:
        rows = [[str(one.version), standing(states[one.version.task], one.version), one.why] for one in found]
        table(["version", "state", "what differs"], rows)
    else:
        print(f"no version is bound to another backbone than {backbone}")


def _print(content: Any) -> None:
    from json import dumps

    print(dumps(content, indent=1))


def _with_standing(state: TaskState, version: Version) -> dict[str, Any]:
    return {**version.to_dict(), "current": version.number == state.current_number}


def _table_of(entries: list[Entry]) -> None:
    rows = [
        [str(e.number), e.time[:19], e.by, e.action, f"{e.task} {e.version or ''}".rstrip(), e.why, _told(e)]
        for e in entries
    ]
    table(["", "time (UTC)", "by", "what", "version", "why", ""], rows)


def _told(entry: Entry) -> str:
    """What an entry says beyond who, when and why, in a line."""
    if entry.action == "add":
        origin = entry.facts.get("origin")
        return "" if origin is None else f"retrained from {origin}"
    if entry.action == "rollback":
        return f"back to {entry.facts['to']}"
    if entry.action == "gate":
        return _gate(entry)
    if entry.action == "approve":
        return _checks(entry.facts["checks"])
    return ""


def _checks(checks: dict[str, Any] | None) -> str:
    """What an approval rests on."""
    if checks is None:
        return "nothing was checked"
    measured = ", ".join(f"{name} {value:.2%}" for name, value in checks["figures"].items())
    if not checks["failed"]:
        return f"passed: {measured}"
    return f"{'forced, failed' if checks['forced'] else 'failed'}: {'; '.join(checks['failed'])}"


def _gate(entry: Entry | None) -> str:
    """What a gate asks for."""
    if entry is None or entry.facts["gate"] is None:
        return "none"
    gate = entry.facts["gate"]
    asked = [f"{name} >= {least:g}" for name, least in gate["require"].items()]
    if gate["not_worse"] is not None:
        asked.append(f"none more than {gate['not_worse']:g} below the current version's")
    data = gate["data"]
    where = ":".join(str(data[part]) for part in ("source", "name") if data.get(part))
    return f"{', '.join(asked)}, on {gate['images']:,} images ({gate['split']}) of {where}"


def _accuracy(version: Version) -> str:
    return _value(version.metrics.get("accuracy", "-"))


def _distance(difference: Difference) -> str:
    return "" if difference.distance is None else f"{difference.distance:.4f}"


def _value(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
