"""What a log amounts to: versions and their states, what is current, and the rules of what may be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vpt.artifacts.library.content import Files
from vpt.artifacts.library.entry import Entry
from vpt.errors import ArtifactError, OptionError, nearest


@dataclass(frozen=True)
class Version:
    """One saved task, as its library knows it.

    state: "draft" (added), "approved" (may be served), or "retired" (withdrawn).
    digest: SHA-256 of its files; added, by, why: when it was added, by whom and why.
    backbone: its name, where the artefact says; fingerprint: the digest of what it is bound to.
    metrics: what its run measured; origin: the version that it was retrained from.
    """

    task: str
    number: int
    state: str
    digest: str
    added: str
    by: str
    why: str
    method: str
    backbone: str | None
    fingerprint: str
    num_classes: int
    classes: list[str] | None
    metrics: dict[str, Any]
    files: Files
    origin: int | None = None

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file["bytes"] for file in self.files.values())

    def __str__(self) -> str:
        return f"{self.task} {self.number}"

    def to_dict(self) -> dict[str, Any]:
        """Every field, and the size; JSON-able."""
        return {**asdict(self), "bytes": self.bytes}


@dataclass
class TaskState:
    """The versions of a task, 1 first; `approved`: numbers in the order of approval, the last is current.

    gate: the entry that set what an approval takes; None where there is no gate.
    """

    versions: list[Version] = field(default_factory=list)
    approved: list[int] = field(default_factory=list)
    gate: Entry | None = None

    @property
    def current_number(self) -> int | None:
        """The number of `current`."""
        return self.approved[-1] if self.approved else None

    @property
    def current(self) -> Version | None:
        """The version that is served: the one approved last of those that were not retired since."""
        return self.versions[self.approved[-1] - 1] if self.approved else None

    def version(self, task: str, number: int) -> Version:
        """By number. Raises `OptionError`."""
        if type(number) is not int or not 1 <= number <= len(self.versions):
            accepted = f"1 to {len(self.versions)}" if len(self.versions) > 1 else "1"
            raise OptionError(f"task {task!r} has no version {number!r}; accepted: {accepted}")
        return self.versions[number - 1]

    def mark(self, number: int, state: str) -> None:
        """Give a version another state."""
        self.versions[number - 1] = replace(self.versions[number - 1], state=state)
        self.approved = [*(n for n in self.approved if n != number), *([number] if state == "approved" else [])]


def fold(entries: Iterable[Entry]) -> dict[str, TaskState]:
    """The state of every task after `entries`. Raises `ArtifactError` naming an entry that cannot be."""
    tasks: dict[str, TaskState] = {}
    for entry in entries:
        try:
            apply(tasks, entry)
        except (OptionError, KeyError, TypeError) as error:
            raise ArtifactError(f"entry {entry.number} of the log cannot be: {error}") from error
    return tasks


def of_task(tasks: Mapping[str, TaskState], task: str) -> TaskState:
    """The state of a task. Raises `OptionError` with the nearest name."""
    if task not in tasks:
        raise OptionError(
            f"no task {task!r} in the library{nearest(task, tasks)}; accepted: {', '.join(sorted(tasks))}"
        )
    return tasks[task]


def apply(tasks: dict[str, TaskState], entry: Entry) -> None:
    """Do what `entry` says, where the rules allow it. Raises `OptionError` where they do not."""
    state = tasks.setdefault(entry.task, TaskState()) if entry.action == "add" else of_task(tasks, entry.task)
    {"add": _add, "approve": _approve, "retire": _retire, "rollback": _rollback, "gate": _gate}[entry.action](
        state, entry
    )


def _add(state: TaskState, entry: Entry) -> None:
    if entry.version != len(state.versions) + 1:
        raise OptionError(f"version {entry.version} cannot come after {len(state.versions)}")
    told: dict[str, Any] = {
        "task": entry.task,
        "number": entry.version,
        "added": entry.time,
        "by": entry.by,
        "why": entry.why,
    }
    state.versions.append(Version(state="draft", **told, **entry.facts))


def _approve(state: TaskState, entry: Entry) -> None:
    """Any version but the current one: a draft, one approved before, and a retired one, which comes back so."""
    version = state.version(entry.task, entry.version)
    if version.number == state.current_number:
        raise OptionError(f"{version} is approved already, and current")
    checks = entry.facts["checks"]
    if state.gate is not None:
        _check_examined(state, state.gate, version, checks or {})
    if checks and checks["failed"] and not (checks["forced"] and entry.why):
        raise OptionError(f"{version} is not approved: {'; '.join(checks['failed'])}")
    state.mark(entry.version, "approved")


def _check_examined(state: TaskState, gate: Entry, version: Version, checks: Mapping[str, Any]) -> None:
    """Raise `OptionError` unless it was this version that was measured, by this gate, against what is current still."""
    if (checks.get("gate"), checks.get("digest")) != (gate.number, version.digest):
        raise OptionError(
            f"{version.task} has a gate (entry {gate.number} of the log), and {version} was not checked by it: "
            "`vpt library approve` does"
        )
    asked = gate.facts["gate"]
    lacking = sorted(asked["require"].keys() - checks["figures"].keys())
    if lacking and not checks["failed"]:
        raise OptionError(f"{version} is not approved: {', '.join(lacking)} not measured")
    if asked["not_worse"] is not None and checks["current"] != state.current_number:
        raise OptionError(
            f"{version} was compared with {checks['current'] or 'none'}, which was current, and now "
            f"{state.current_number or 'none'} is: measure again"
        )


def _retire(state: TaskState, entry: Entry) -> None:
    """Any version; where it is the current one, that approved before it is current then, or none."""
    _check_why(entry)
    if state.version(entry.task, entry.version).state == "retired":
        raise OptionError(f"{entry.task} {entry.version} is retired already")
    state.mark(entry.version, "retired")


def _rollback(state: TaskState, entry: Entry) -> None:
    _check_why(entry)
    if state.current_number != entry.version:
        raise OptionError(f"{entry.task} {entry.version} is not current any more: {state.current_number or 'none'} is")
    if state.approved[-2:-1] != [entry.facts["to"]]:
        raise OptionError(f"{entry.task} has no version approved before {entry.version} to go back to; retire it")
    state.mark(entry.version, "retired")


def _gate(state: TaskState, entry: Entry) -> None:
    state.gate = entry if entry.facts["gate"] is not None else None


def _check_why(entry: Entry) -> None:
    if not entry.why.strip():
        raise OptionError(f"{entry.action} {entry.task}: say why")
