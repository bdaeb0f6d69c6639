"""Rows of many requests share a pass; one that fails, or that nobody waits for any more, touches no other."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

from vpt.serving.http.batcher import Batcher, Full, Row


class Fake:
    """Answers with the sum of an image; held up where `gate` is shut; NaN fails the whole pass."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate, self.inside = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def __call__(self, images: list[Tensor], tasks: list[str]) -> list[Any]:
        self.inside.release()
        self.gate.wait(10)
        self.sizes.append(len(images))
        batch = torch.stack(images)  # fails for mixed shapes, as a model would
        if batch.isnan().any():
            raise ValueError("NaN")
        return [SimpleNamespace(task=t, logits=i.sum()) for i, t in zip(images, tasks, strict=True)]

    def attention(self, images: list[Tensor], tasks: list[str]) -> Tensor:
        return torch.stack(images).sum((1, 2, 3)).reshape(-1, 1, 1)


@contextmanager
def batcher(fake: Fake, **options: Any) -> Iterator[Batcher]:
    made: Any = Batcher(fake, **{"max_batch": 4, "max_wait": 0.0, "max_queue": 8, **options})  # type: ignore[arg-type]
    made.start()
    try:
        yield made
    finally:
        fake.gate.set()
        made.stop()


def row(value: float, *, look: bool = False, size: int = 2) -> Row:
    return Row(torch.full((3, size, size), value), f"task {value:g}", look)


def test_rows_of_many_requests_share_passes_of_the_largest_size() -> None:
    fake = Fake()

    async def ask(queue: Batcher) -> list[Any]:
        fake.gate.clear()
        first = asyncio.ensure_future(queue.ask([row(0)]))
        await asyncio.to_thread(fake.inside.acquire)
        others = [asyncio.ensure_future(queue.ask([row(i), row(i, look=True)])) for i in range(1, 5)]
        await asyncio.sleep(0)
        assert queue.depth == 8
        fake.gate.set()
        return [await first, *[await other for other in others]]

    with batcher(fake) as queue:
        answers = asyncio.run(ask(queue))
    assert fake.sizes == [1, 4, 4]
    for i, found in enumerate(answers):
        assert [result.task for result, _ in found] == [f"task {i}"] * (2 if i else 1)
        assert [float(result.logits) for result, _ in found] == [12 * i] * (2 if i else 1)
        assert [None if seen is None else float(seen) for _, seen in found] == ([None, 12 * i] if i else [None])


def test_a_batch_waits_for_more_rows_and_not_when_told_so() -> None:
    async def ask(queue: Batcher) -> None:
        first = asyncio.ensure_future(queue.ask([row(1)]))
        await asyncio.sleep(0.02)
        await asyncio.gather(first, queue.ask([row(2)]))

    waiting, hasty = Fake(), Fake()
    with batcher(waiting, max_wait=10.0, max_batch=2) as queue:
        asyncio.run(ask(queue))
    with batcher(hasty, max_wait=10.0, max_batch=1) as queue:
        asyncio.run(ask(queue))
    assert (waiting.sizes, hasty.sizes) == ([2], [1, 1])


def test_a_row_that_fails_fails_alone() -> None:
    fake = Fake()

    async def ask(queue: Batcher) -> list[Any]:
        asked = (queue.ask([row(v)]) for v in (1, float("nan"), 3))
        return await asyncio.gather(*asked, return_exceptions=True)

    with batcher(fake, max_wait=10.0, max_batch=3) as queue:
        one, failed, three = asyncio.run(ask(queue))
    assert (float(one[0][0].logits), float(three[0][0].logits)) == (12, 36)
    assert isinstance(failed, ValueError)
    assert fake.sizes == [3, 1, 1, 1]


def test_images_of_other_shapes_go_through_passes_of_their_own() -> None:
    fake = Fake()

    async def ask(queue: Batcher) -> list[Any]:
        return await queue.ask([row(1), row(1, size=3), row(2)])

    with batcher(fake, max_wait=10.0, max_batch=3) as queue:
        assert [float(result.logits) for result, _ in asyncio.run(ask(queue))] == [12, 27, 24]
    assert sorted(fake.sizes) == [1, 2]


def test_rows_that_nobody_waits_for_are_never_run() -> None:
    fake = Fake()

    async def ask(queue: Batcher) -> None:
        fake.gate.clear()
        first = asyncio.ensure_future(queue.ask([row(0)]))
        await asyncio.to_thread(fake.inside.acquire)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await queue.ask([row(1), row(2)])
        last = asyncio.ensure_future(queue.ask([row(3)]))
        await asyncio.sleep(0)
        fake.gate.set()
        await asyncio.gather(first, last)
        assert queue.depth == 0

    with batcher(fake) as queue:
        asyncio.run(ask(queue))
    assert fake.sizes == [1, 1]


def test_room_is_bounded_and_given_back() -> None:
    with batcher(Fake()) as queue:
        for _ in range(3):
            with queue.room(5), queue.room(3), pytest.raises(Full, match=r"8 rows .* 1 more exceed 8"), queue.room(1):
                pass
        with pytest.raises(KeyError), queue.room(8):
            raise KeyError
        with queue.room(8):
            pass


def test_stopping_answers_what_is_queued() -> None:
    fake = Fake()

    async def ask(queue: Batcher) -> list[Any]:
        fake.gate.clear()
        asked = [asyncio.ensure_future(queue.ask([row(i)])) for i in range(7)]
        await asyncio.to_thread(fake.inside.acquire)
        stopping = asyncio.ensure_future(asyncio.to_thread(queue.stop))
        await asyncio.sleep(0.01)
        fake.gate.set()
        await stopping
        return await asyncio.gather(*asked)

    queue: Any = Batcher(fake, max_batch=2, max_wait=0.0, max_queue=8)  # type: ignore[arg-type]
    queue.start()
    assert [float(found[0][0].logits) for found in asyncio.run(ask(queue))] == [12 * i for i in range(7)]


def test_an_answered_image_is_kept_by_nobody() -> None:
    with batcher(Fake()) as queue:
        one = row(1)
        kept = weakref.ref(one.image)
        asyncio.run(queue.ask([one]))
        asyncio.run(queue.ask([row(2)]))
        del one
        assert kept() is None
