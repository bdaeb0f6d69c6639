"""Tasks that come, change and go while requests run: through the library, and by an administrator's hand."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from benchmarks.serving.stock import Stock

MOST = 4
"""Tasks that have come and are still there; then the oldest goes."""


class Churn:
    """One change after another, `pause` seconds apart, to the library and to the server at `url`.

    done: how many of each kind were made, or `failed` at the server. guests: tasks that have come, newest last.
    """

    def __init__(self, stock: Stock, pause: float, names: Iterator[int], seed: int = 0) -> None:
        self._stock, self._pause, self._names = stock, pause, names
        self._drawn = random.Random(seed)
        self.guests: list[str] = []
        self.done: Counter[str] = Counter()

    @contextmanager
    def at(self, url: str) -> Iterator[None]:
        """Changes in a thread, as long as the block lasts. Raises what a change raised."""
        stop, failed = threading.Event(), list[Exception]()

        def change() -> None:
            changes: list[Callable[[httpx.Client], str]] = [self._replace, self._come, self._take_away, self._put_back]
            try:
                with httpx.Client(base_url=url, timeout=60) as client:
                    for one in itertools.cycle(changes):
                        if stop.wait(self._pause):
                            break
                        self.done[self._tried(one, client)] += 1
                    for name in self._stock.visiting:
                        self._put(client, name)
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=change, name="churn")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    @staticmethod
    def _tried(change: Callable[[httpx.Client], str], client: httpx.Client) -> str:
        try:
            return change(client)
        except httpx.HTTPError:  # a refusal, or no reply: counted, and the requests go on
            return "failed"

    def _replace(self, client: httpx.Client) -> str:
        """Approve the version that is not current."""
        name = self._drawn.choice(self._stock.changing)
        current = self._stock.library.current(name)
        others = [n for n in self._stock.versions[name] if current is None or n != current.number]
        self._stock.library.approve(name, self._drawn.choice(others))
        return "replaced"

    def _come(self, client: httpx.Client) -> str:
        """A task of a new name; or, where there are enough, one less."""
        if len(self.guests) >= MOST:
            self._stock.library.retire(self.guests[0], 1, why="it goes")
            self.guests.pop(0)
            return "retired"
        name = f"guest-{next(self._names)}"
        self._stock.enter(name, self._drawn.choice(self._stock.spare))
        self.guests.append(name)
        return "added"

    def _take_away(self, client: httpx.Client) -> str:
        answer = client.delete(f"/v1/tasks/{self._drawn.choice(self._stock.visiting)}")
        if answer.status_code not in (204, 404):
            answer.raise_for_status()
        return "deleted" if answer.status_code == 204 else "deleted in vain"

    def _put_back(self, client: httpx.Client) -> str:
        self._put(client, self._drawn.choice(self._stock.visiting))
        return "put"

    @staticmethod
    def _put(client: httpx.Client, name: str) -> None:
        client.put(f"/v1/tasks/{name}", json={"version": None}).raise_for_status()
