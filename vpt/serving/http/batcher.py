"""Dynamic batching: rows of many requests and many tasks become one forward pass, run by one thread."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from vpt.serving.predictor import Predictor
from vpt.serving.result import Result

_log = logging.getLogger(__name__)

Found = tuple[Result, Tensor | None]
"""A row's result, and `[H', W']` of where the class token looks, where that was asked and there is one."""


class Full(Exception):  # noqa: N818 - reads as what it is
    """There is no room for the rows of a request."""


@dataclass(frozen=True, eq=False)
class Row:
    """An image `[3, H, W]` as the model takes it, for one task. look: whether an attention map is wanted."""

    image: Tensor
    task: str
    look: bool = False
    answer: Future[Found] = field(default_factory=Future, repr=False)


class Batcher:
    """Takes rows from any thread, answers them from its own.

    max_batch: most rows of a pass. max_wait: seconds that a batch waits for more once its first row is there.
    max_queue: most rows for which there is `room` at once. observe: told the size of every batch.
    """

    def __init__(
        self, predictor: Predictor, *, max_batch: int, max_wait: float, max_queue: int,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:  # fmt: skip
        self._predictor, self._observe = predictor, observe
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._rows: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._admitted = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="vpt-batcher", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what is queued, then end."""
        self._rows.put(None)
        self._thread.join()

    @property
    def depth(self) -> int:
        """Rows that wait for a pass."""
        return self._rows.qsize()

    @contextmanager
    def room(self, rows: int) -> Iterator[None]:
        """Room for that many rows, from before they are decoded until they are answered. Raises `Full`."""
        with self._lock:
            if self._admitted + rows > self._max_queue:
                raise Full(f"{self._admitted} rows are being answered; {rows} more exceed {self._max_queue}")
            self._admitted += rows
        try:
            yield
        finally:
            with self._lock:
                self._admitted -= rows

    async def ask(self, rows: Sequence[Row]) -> list[Found]:
        """The rows' answers in order; raises what the predictor raised for one of them. Cancelling forgets them."""
        waiting = [asyncio.wrap_future(row.answer) for row in rows]
        for row in rows:
            self._rows.put(row)
        return await asyncio.gather(*waiting)

    # --- in the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._turn():  # a function of its own, or the last batch would be kept until the next one comes
            pass

    def _turn(self) -> bool:
        """Answer one batch; False at the end."""
        batch = self._next()
        if batch is None:
            return False
        shapes: dict[tuple[int, ...], list[Row]] = {}
        for row in batch:
            if row.answer.set_running_or_notify_cancel():  # False where its request has gone
                shapes.setdefault(tuple(row.image.shape), []).append(row)
        for rows in shapes.values():
            self._answer(rows)
        return True

    def _next(self) -> list[Row] | None:
        """The rows of the next pass; None at the end."""
        first = self._rows.get()
        if first is None:
            return None
        batch, deadline = [first], time.monotonic() + self._max_wait
        while len(batch) < self._max_batch:
            try:
                row = self._rows.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if row is None:
                self._rows.put(None)
                break
            batch.append(row)
        return batch

    def _answer(self, rows: Sequence[Row]) -> None:
        """One pass; where it fails, one for each row, so that a row fails for itself alone."""
        try:
            found = self._pass(rows)
        except Exception as error:  # whatever it is, it belongs to a request, and the thread goes on
            if len(rows) == 1:
                rows[0].answer.set_exception(error)
                return
            _log.warning("a batch of %d failed, its rows are tried one by one: %s", len(rows), error)
            for row in rows:
                self._answer([row])
            return
        for row, answer in zip(rows, found, strict=True):
            row.answer.set_result(answer)

    def _pass(self, rows: Sequence[Row]) -> list[Found]:
        self._observe(len(rows))
        results = self._predictor([row.image for row in rows], [row.task for row in rows])
        looking = [row for row in rows if row.look]
        seen = self._predictor.attention([r.image for r in looking], [r.task for r in looking]) if looking else None
        maps = iter(() if seen is None else seen)
        return [(result, next(maps, None) if row.look else None) for row, result in zip(rows, results, strict=True)]
