"""The real server, with batching and without, in turns, while its tasks come and go."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving.churn import Churn
from benchmarks.serving.clients import TIMEOUT, block
from benchmarks.serving.process import SECONDS, address, serving
from benchmarks.serving.settings import Settings
from benchmarks.serving.stock import BACKBONE, Stock, stock

SERVERS = {"batched": (), "single": ("--max-batch", "1")}
"""What each is started with. Both run all the time, and only one is asked."""
POLL = "0.2"
"""Seconds between a server's looks at the library."""


def rows(settings: Settings, folder: Path, done: int) -> Iterator[dict[str, Any]]:
    """A row for each block of requests that is still to come after `done`: each server's, and the changes made."""
    made = stock(settings, folder / "served")
    with ExitStack() as held:
        started = {}
        for name, arguments in SERVERS.items():
            log = folder / "logs" / f"{name}.txt"
            process = held.enter_context(serving(made.library.url, BACKBONE, log, "--poll", POLL, *arguments))
            started[name] = process, log
        urls = {name: address(*both) for name, both in started.items()}
        for url in urls.values():
            ready(url)
        churn = Churn(made, settings.pause, itertools.count(), settings.seed)
        for index in range(done, settings.blocks):
            yield {name: _block(name, urls[name], made, churn, settings, index) for name in _order(settings, index)}


def ready(url: str) -> None:
    """Wait until every task had its chance to load. Raises `TimeoutError`."""
    with httpx.Client(timeout=TIMEOUT) as client:
        for _ in range(SECONDS * 10):
            if client.get(f"{url}/readyz").status_code == 200:
                return
            time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready")


def _order(settings: Settings, index: int) -> list[str]:
    return random.Random(f"{settings.seed} {index}").sample([*SERVERS], len(SERVERS))


def _block(name: str, url: str, made: Stock, churn: Churn, settings: Settings, index: int) -> dict[str, Any]:
    requests = settings.requests // settings.blocks
    told = partial(_tell, f"  {name}, block {index + 1} of {settings.blocks}, {requests} requests:")
    churn.done.clear()
    with churn.at(url):
        found = asyncio.run(block(url, made, churn, requests, settings.clients, settings.seed + index, told))
    return {**found, "requests": requests, "changes": dict(churn.done)}


def _tell(head: str, text: str) -> None:
    print(head, text, file=sys.stderr, flush=True)
