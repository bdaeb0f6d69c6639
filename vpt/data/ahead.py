"""Work done in threads ahead of the one who uses its results, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 4
WINDOW = 64
"""Results that may wait for their use; of large photographs this many take a few hundred MB."""


def ahead(function: Callable[[int], T], count: int) -> Iterator[T]:
    """`function(0)`, ..., `function(count - 1)` in order, a few computed ahead; an exception comes in its turn."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(function, i) for i in range(min(WINDOW, count)))
        try:
            for i in range(count):
                result = waiting.popleft().result()
                if i + WINDOW < count:
                    waiting.append(pool.submit(function, i + WINDOW))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
