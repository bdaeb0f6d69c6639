"""Clients of the server: many at once, and every reply held against what its version answers alone."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np

from benchmarks.serving.churn import Churn
from benchmarks.serving.stock import Stock

TOLERANCE = 1e-4
"""Of a float32 logit, relative to the largest of its image."""
TIMEOUT = 120.0
AWAY = (404, 409)
"""What may be answered for a task that is just being taken away."""
EVERY = 1.0
"""Seconds between two looks at the server's memory."""

VERDICTS = ("right", "wrong", "away", "refused", "lost")
"""right: 200, and as the version that it names answers alone. wrong: 200, and not so. away: 404 or 409 of a task that
comes and goes. refused: any other status. lost: no reply.
"""


def judge(stock: Stock, task: str, picture: int, status: int, reply: Any) -> str:
    """The verdict on a reply of that status; `reply` is its JSON, or None."""
    if status != 200:
        stays = task in stock.steady or task in stock.changing
        return "away" if status in AWAY and not stays else "refused"
    if reply is None:
        return "wrong"
    (answer,) = reply["images"][0]["answers"]
    known = stock.versions[task].get(answer["version"])
    if answer["task"] != task or known is None or answer["digest"] != known:
        return "wrong"
    truth = stock.truth[known][picture]
    found = np.asarray(answer["logits"])
    alike = found.shape == truth.shape and np.abs(found - truth).max() <= TOLERANCE * np.abs(truth).max()
    return "right" if alike else "wrong"


async def block(
    url: str, stock: Stock, churn: Churn, requests: int, clients: int, seed: int, told: Callable[[str], Any]
) -> dict[str, Any]:
    """Send so many requests, each client its next as soon as it is answered; JSON-able.

    seconds: of all; latencies: of each right reply, in the order of their ends; resident: bytes of the server, second
    by second, where its system tells; process: when it was started; rows: mean rows of its passes.
    """
    found: dict[str, Any] = {
        "verdicts": dict.fromkeys(VERDICTS, 0), "statuses": Counter(), "latencies": [], "resident": [],
    }  # fmt: skip
    jobs = _jobs(stock, churn, requests, seed)
    limits = httpx.Limits(max_connections=clients + 1, max_keepalive_connections=clients + 1)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=TIMEOUT) as client:
        before = await _metrics(client)
        watching = asyncio.ensure_future(_watch(client, found, told))
        started = time.perf_counter()
        await asyncio.gather(*(_one_after_another(client, stock, jobs, found) for _ in range(clients)))
        found["seconds"] = time.perf_counter() - started
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        after = await _metrics(client)
    passes, rows = (after[f"vpt_batch_rows_{name}"] - before[f"vpt_batch_rows_{name}"] for name in ("count", "sum"))
    return {**found, "process": after.get("process_start_time_seconds"), "rows": rows / max(passes, 1)}


def _jobs(stock: Stock, churn: Churn, requests: int, seed: int) -> Iterator[tuple[str, int]]:
    """A task, of those there are just now, and a picture."""
    drawn = random.Random(seed)
    settled = [*stock.steady, *stock.changing, *stock.visiting]
    for _ in range(requests):
        yield drawn.choice([*settled, *churn.guests]), drawn.randrange(len(stock.pictures))


async def _one_after_another(
    client: httpx.AsyncClient, stock: Stock, jobs: Iterator[tuple[str, int]], found: dict[str, Any]
) -> None:
    for task, picture in jobs:
        started = time.perf_counter()
        try:
            files = {"image": ("picture.png", stock.pictures[picture], "image/png")}
            response = await client.post("/v1/predict", data={"task": task, "top": "1", "logits": "1"}, files=files)
        except httpx.HTTPError as error:
            found["verdicts"]["lost"] += 1
            found["statuses"][type(error).__name__] += 1
            continue
        seconds = time.perf_counter() - started
        verdict = judge(stock, task, picture, response.status_code, _json(response))
        found["verdicts"][verdict] += 1
        found["statuses"][str(response.status_code)] += 1
        if verdict == "right":
            found["latencies"].append(round(seconds, 5))


def _json(response: httpx.Response) -> Any:
    """What a reply of 200 says; None where that is no JSON, and for every other status."""
    with suppress(ValueError):
        return response.json() if response.status_code == 200 else None
    return None


async def _watch(client: httpx.AsyncClient, found: dict[str, Any], told: Callable[[str], Any]) -> None:
    while True:
        with suppress(httpx.HTTPError):  # a server that is too busy to tell is asked again
            bytes_now = (await _metrics(client)).get("process_resident_memory_bytes")
            found["resident"] += [] if bytes_now is None else [int(bytes_now)]
        told(", ".join(f"{number} {verdict}" for verdict, number in found["verdicts"].items()))
        await asyncio.sleep(EVERY)


async def _metrics(client: httpx.AsyncClient) -> dict[str, float]:
    """The server's own numbers that have no labels."""
    text = (await client.get("/metrics")).raise_for_status().text
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}
