"""Where served tasks come from: the approved versions of a library, or a folder of saved tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vpt.artifacts import is_artifact
from vpt.artifacts.library import Library
from vpt.artifacts.schema import CONFIG
from vpt.errors import ArtifactError, OptionError, unknown


@dataclass(frozen=True)
class Edition:
    """What a task is just now. number: its version in a library; digest: changes whenever the content does."""

    number: int | None
    digest: str


class Source(Protocol):
    """Tasks that shall be served. Any method may raise a `VptError`, or an `OSError` where it cannot be reached."""

    def head(self) -> Hashable:
        """Something that changes whenever `wanted` does, and is cheap to ask for."""

    def wanted(self) -> dict[str, Edition]:
        """The tasks by name."""

    def edition(self, name: str, number: int | None) -> Edition:
        """A version of a task, None for the one wanted. Raises `OptionError` for an unknown one."""

    def open(self, name: str, edition: Edition) -> Path:
        """A local folder that holds it."""


def source_of(url: str | Path) -> Source:
    """The library at `url`, or, where it is none, the saved tasks in the folder. Raises `ArtifactError` for neither."""
    library = Library(url)
    try:
        library.tasks()
    except ArtifactError:
        folder = SavedTasks(Path(url))
        if not Path(url).is_dir() or not folder.wanted():
            raise
        return folder
    return Approved(library)


class Approved:
    """The current version of every task of a library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def head(self) -> Hashable:
        """The number of the library's last entry."""
        return self._library.head()

    def wanted(self) -> dict[str, Edition]:
        """Tasks with an approved version."""
        return {name: Edition(version.number, version.digest) for name, version in self._library.standing().items()}

    def edition(self, name: str, number: int | None) -> Edition:
        """An approved version."""
        version = self._library.current(name) if number is None else self._library.version(name, number)
        if version is None:
            raise OptionError(f"{name} has no approved version")
        if version.state != "approved":
            raise ArtifactError(f"{version} is {version.state}; accepted: approved versions")
        return Edition(version.number, version.digest)

    def open(self, name: str, edition: Edition) -> Path:
        """The library's own folder, or a checked copy."""
        return self._library.open(name, edition.number or 0)


class SavedTasks:
    """Artefacts, or finished runs, in a folder, by the names of theirs; hidden ones are somebody's unfinished copies.

    Every method raises `OSError` where the folder is not there: a disk that is away retires no task.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def head(self) -> Hashable:
        """What the folders are, and when they were written."""
        return frozenset((name, place.joinpath(CONFIG).stat().st_mtime_ns) for name, place in self._places().items())

    def wanted(self) -> dict[str, Edition]:
        """All of them; the configuration holds the digest of everything else."""
        return {name: _edition(place) for name, place in self._places().items()}

    def edition(self, name: str, number: int | None) -> Edition:
        """What is there now; there are no numbers."""
        places = self._places()
        if name not in places:
            raise unknown("task", name, places)
        if number is not None:
            raise OptionError(f"version {number} of {name}; accepted: null, since {self._folder} is no library")
        return _edition(places[name])

    def open(self, name: str, edition: Edition) -> Path:
        """The folder itself."""
        return self._places()[name]

    def _places(self) -> dict[str, Path]:
        found = {}
        for place in sorted(self._folder.iterdir()):
            inside = next((p for p in (place, place / "artifact") if is_artifact(p)), None)
            if inside is not None and not place.name.startswith("."):
                found[place.name] = inside
        return found


def _edition(place: Path) -> Edition:
    return Edition(None, hashlib.sha256(place.joinpath(CONFIG).read_bytes()).hexdigest())
