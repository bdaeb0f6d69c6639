"""`Follower`: a thread that keeps what is served as its source says, approvals and rollbacks included."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable

from vpt.errors import ArtifactError, OptionError, VptError
from vpt.serving.http.catalogue import Catalogue
from vpt.serving.http.errors import clean
from vpt.serving.http.sources import Edition, Source

_log = logging.getLogger(__name__)


class Follower:
    """Loads what `source` wants into a catalogue, looks again every `poll` seconds, and never stops serving meanwhile.

    A task that does not load is among the catalogue's problems; its version before, if any, is served on. What was
    served or dropped by hand stays so whatever the source says, until it is served with version None.
    """

    def __init__(self, source: Source, *, poll: float = 5.0) -> None:
        """Raises `OptionError` for a `poll` that is no time to wait."""
        if not 0 < poll <= threading.TIMEOUT_MAX:
            raise OptionError(f"poll is {poll!r}; accepted: seconds above 0")
        self._source, self._poll = source, poll
        self._settled: dict[str, Edition] = {}  # tried last, by task, and not to be tried again: loaded, or at fault
        self._followed: set[str] = set()  # what the catalogue has from the source
        self._by_hand: set[str] = set()
        self._turn = threading.Lock()  # loading takes long, and one at a time
        self._end, self._loaded = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def loaded(self) -> bool:
        """Whether every task had its chance to load."""
        return self._loaded.is_set()

    def start(self, catalogue: Catalogue) -> None:
        """Begin to follow."""
        self._catalogue = catalogue
        self._end.clear()
        self._thread = threading.Thread(target=self._follow, name="vpt-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is being loaded, or read from afar, is waited for a moment and then left to the thread alone."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def serve(self, name: str, version: int | None) -> None:
        """Serve a version by hand, or, with None, the one that the source wants. After an error all is as before.

        Raises `OptionError` for an unknown task or version, `ArtifactError` for one that cannot be served.
        """
        with self._turn:
            edition = self._source.edition(name, version)
            if name not in self._catalogue.names or self._settled.get(name) != edition or name in self._problems:
                self._load_or_refuse(name, edition)
            self._by_hand.discard(name)
            if version is not None:
                self._by_hand.add(name)

    def drop(self, name: str) -> None:
        """Serve a task no longer, by hand. Raises `OptionError` for an unknown name."""
        with self._turn:
            self._catalogue.drop(name)
            self._forget(name)
            self._by_hand.add(name)

    def _follow(self) -> None:
        seen: Hashable = None
        while not self._end.is_set():
            try:
                head = self._source.head()
                if head != seen:
                    seen = head if self._sync() else None
                    self._loaded.set()
            except Exception as error:  # an object store may raise anything, and may be back the next time
                _log.warning("the library cannot be read now, what is served stays: %s", error)
            self._end.wait(self._poll)

    def _sync(self) -> bool:
        """Serve what is wanted; whether that is settled, and not to be tried again."""
        with self._turn:
            wanted = self._source.wanted()
            for name in sorted((self._followed | self._problems.keys()) - wanted.keys() - self._by_hand):
                if name in self._followed:
                    self._catalogue.drop(name)
                self._forget(name)
                _log.info("%s is served no longer", clean(name))
        for name, edition in wanted.items():
            if self._end.is_set():
                break
            with self._turn:
                if name not in self._by_hand and self._settled.get(name) != edition:
                    self._renew(name)
        return all(name in self._by_hand or self._settled.get(name) == wanted[name] for name in wanted)

    def _renew(self, name: str) -> None:
        """Load what is wanted of a task now: what was wanted a moment ago may be older than what was put by hand."""
        try:
            edition = self._source.edition(name, None)
        except OptionError:  # nothing any more, which the next look will find
            return
        if self._settled.get(name) != edition:
            self._try(name, edition)

    def _try(self, name: str, edition: Edition) -> None:
        """Load a task; where that fails, it is this task's problem alone, and settled if the task is at fault."""
        try:
            self._load(name, edition)
        except Exception as error:  # a file system or a device may raise anything
            self._settled.pop(name, None)
            if isinstance(error, VptError):
                self._settled[name] = edition
            before = "its version before is served on" if name in self._catalogue.names else "it is not served"
            self._problems[name] = f"{_called(edition)} does not load, {before}: {error}"
            _log.warning("%s: %s", clean(name), clean(self._problems[name]))

    def _load_or_refuse(self, name: str, edition: Edition) -> None:
        try:
            self._load(name, edition)
        except OptionError as error:  # the task is there, and it is not one that this backbone can serve
            raise ArtifactError(f"{name}, {_called(edition)}, cannot be served: {error}") from error

    def _load(self, name: str, edition: Edition) -> None:
        self._catalogue.put(name, self._source.open(name, edition), edition.number)
        self._followed.add(name)
        self._settled[name] = edition
        self._problems.pop(name, None)
        _log.info("%s: %s is served", clean(name), _called(edition))

    def _forget(self, name: str) -> None:
        self._followed.discard(name)
        self._settled.pop(name, None)
        self._problems.pop(name, None)

    @property
    def _problems(self) -> dict[str, str]:
        return self._catalogue.problems


def _called(edition: Edition) -> str:
    return edition.digest[:12] if edition.number is None else f"version {edition.number}"
