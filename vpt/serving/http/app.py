"""`create_app`: the server as an ASGI application, over one predictor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI

from vpt.serving.http import health, page, predict, tasks
from vpt.serving.http.batcher import Batcher
from vpt.serving.http.catalogue import Catalogue
from vpt.serving.http.errors import install
from vpt.serving.http.follow import Follower
from vpt.serving.http.hosts import Addressed
from vpt.serving.http.limits import Bodies
from vpt.serving.http.metrics import Metrics, Observed
from vpt.serving.http.service import BEARER, Service
from vpt.serving.http.settings import Settings
from vpt.serving.predictor import Predictor


def create_app(
    predictor: Predictor,
    settings: Settings | None = None,
    follower: Follower | None = None,
    hosts: Collection[str] = (),
) -> FastAPI:
    """The application. What it shares is `app.state.service`; it works between its lifespan's two ends.

    predictor: its tasks are served under their names. follower: what else is served, and how that changes.
    hosts: the only names by which it may be addressed; () takes any.
    The documents at /docs take their scripts from a CDN; /openapi.json and everything else need no network.
    """
    service = _service(predictor, settings or Settings(), follower)
    app = FastAPI(
        title="vpt", description="One frozen backbone, many tasks, chosen image by image.", lifespan=_lifespan
    )
    app.state.service = service
    if hosts:
        app.add_middleware(Addressed, hosts=hosts)
    app.add_middleware(Observed, metrics=service.metrics)
    install(app)
    guarded = [BEARER] if service.settings.tokens else []
    for router in (predict.router, tasks.router, health.for_administrators):
        app.include_router(router, dependencies=guarded)
    for router in (health.router, page.router()):
        app.include_router(router)
    return app


def _service(predictor: Predictor, settings: Settings, follower: Follower | None) -> Service:
    metrics, catalogue = Metrics(), Catalogue(predictor)
    batcher = Batcher(
        predictor,
        max_batch=settings.max_batch,
        max_wait=settings.max_wait_ms / 1e3,
        max_queue=settings.max_queue,
        observe=metrics.batches.observe,
    )
    metrics.watch(catalogue, batcher)
    decoders = ThreadPoolExecutor(settings.decoders, "vpt-decoder")
    return Service(predictor, settings, catalogue, batcher, metrics, follower, decoders, Bodies(settings))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Threads begin; at the end they answer what is queued."""
    service: Service = app.state.service
    service.batcher.start()
    if service.follower is not None:
        service.follower.start(service.catalogue)
    try:
        yield
    finally:
        service.draining = True
        if service.follower is not None:
            service.follower.stop()
        service.decoders.shutdown()
        service.batcher.stop()
