"""What Prometheus reads, and one line of log per request; no label and no line holds what a client made up."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Iterable

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpt.serving.http.batcher import Batcher
from vpt.serving.http.catalogue import Catalogue
from vpt.serving.http.errors import answer

_access = logging.getLogger("vpt.serving.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""Headers of every answer."""


class Metrics:
    """Counters of one app.

    answering: requests that are being answered. images: images answered by task, of tasks that are served.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files
        self.requests = self._counter("vpt_requests", "Requests answered.", "method", "route", "status")
        self.images: collections.Counter[str] = collections.Counter()
        self.seconds = Histogram("vpt_request_seconds", "From request to answer.", ["route"], registry=self.registry)
        self.answering = 0
        active = Gauge("vpt_requests_active", "Requests being answered.", registry=self.registry)
        active.set_function(lambda: self.answering)
        sizes = (1, 2, 4, 8, 16, 32, 64, 128, 256)
        self.batches = Histogram("vpt_batch_rows", "Rows of a forward pass.", buckets=sizes, registry=self.registry)

    def watch(self, catalogue: Catalogue, batcher: Batcher) -> None:
        """Read these whenever metrics are asked for."""
        self.registry.register(_State(catalogue, batcher, self.images))

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)


class _State(Collector):
    def __init__(self, catalogue: Catalogue, batcher: Batcher, images: collections.Counter[str]) -> None:
        self._catalogue, self._batcher, self._images = catalogue, batcher, images

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("vpt_queue_rows", "Rows that wait for a pass.", self._batcher.depth)
        yield GaugeMetricFamily("vpt_tasks", "Tasks that are served.", len(self._catalogue.names))
        yield GaugeMetricFamily("vpt_task_problems", "Tasks that do not load.", len(self._catalogue.problems))
        yield GaugeMetricFamily("vpt_tasks_bytes", "Memory of all tasks' tensors.", self._catalogue.bytes)
        for gone in self._images.keys() - self._catalogue.names:
            del self._images[gone]
        answered = CounterMetricFamily("vpt_images", "Images answered.", labels=["task"])
        for task, number in self._images.items():
            answered.add_metric([task], number)
        yield answered
        if torch.cuda.is_available():
            allocated = torch.cuda.memory_allocated()
            yield GaugeMetricFamily("vpt_device_bytes", "Memory of all tensors on the device.", allocated)


class Observed:
    """ASGI middleware: counts, times, logs and adds the headers of `SAFE`; 500 for what nobody expected."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in SAFE if h[0] not in given)]
            await send(message)

        self._metrics.answering += 1
        try:
            await self._app(scope, receive, noting)
        except Exception:  # what went wrong is for the log, where whatever runs the application writes it
            if not status:
                await answer(500, "failed", "the server failed; its log says why")(scope, receive, noting)
            raise
        finally:
            self._metrics.answering -= 1
            self._note(scope, status or 500, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """By the route's pattern: a path may hold anything, and its query a secret."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        caller = getattr(scope.get("state", {}).get("caller"), "name", "-")
        _access.info("%s %s %d %.1f ms %s", method, route, status, 1e3 * seconds, caller)
