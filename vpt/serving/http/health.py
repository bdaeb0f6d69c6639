"""`/healthz`, `/readyz` and `/metrics`: for those who watch over the server."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from vpt.serving.http.errors import ApiError, busy, documented
from vpt.serving.http.schemas import State
from vpt.serving.http.service import TheService

router = APIRouter(tags=["health"])
for_administrators = APIRouter(tags=["health"], responses=documented(401, 403))


@router.get("/healthz")
async def alive() -> State:
    """Whether the server answers at all."""
    return State(status="alive")


@router.get("/readyz", responses=documented(503))
async def ready(service: TheService) -> State:
    """Whether it takes requests: not before every task had its chance to load, and not when it is stopping."""
    if service.draining:
        raise busy("draining", "this server is stopping")
    if not service.ready:
        raise busy("loading", "this server is loading its tasks")
    return State(status="ready")


@for_administrators.get("/metrics", response_class=Response)
async def metrics(request: Request, service: TheService) -> Response:
    """Prometheus' text format; where the server has tokens, for administrators, since it names all tasks."""
    caller = service.caller(request)
    if not caller.admin:
        raise ApiError(403, "forbidden", f"{caller.name!r} is no administrator")
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
