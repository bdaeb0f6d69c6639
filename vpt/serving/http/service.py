"""`Service`: what all routes of one app share, and the door in front of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from vpt.errors import OptionError, nearest
from vpt.serving.http.auth import ANYONE, Caller
from vpt.serving.http.batcher import Batcher
from vpt.serving.http.catalogue import LONGEST, Catalogue, Served
from vpt.serving.http.errors import ApiError, busy
from vpt.serving.http.follow import Follower
from vpt.serving.http.limits import Bodies
from vpt.serving.http.metrics import Metrics
from vpt.serving.http.settings import Settings
from vpt.serving.predictor import Predictor

BEARER = Depends(HTTPBearer(auto_error=False, description="A token of the server's `--tokens` file, where it has one."))
"""Says in the schema that tokens are taken; `Door` is what checks them."""


@dataclass
class Service:
    """The parts of one app. draining: it takes nothing new, and ends once what it took is answered."""

    predictor: Predictor
    settings: Settings
    catalogue: Catalogue
    batcher: Batcher
    metrics: Metrics
    follower: Follower | None
    decoders: ThreadPoolExecutor
    bodies: Bodies
    draining: bool = field(default=False)

    @property
    def ready(self) -> bool:
        """Whether every task had its chance to load."""
        return self.follower is None or self.follower.loaded

    def caller(self, request: Request) -> Caller:
        """Who asks. Raises `ApiError` 401 without a token, or with one that is unknown."""
        if self.settings.tokens is None:
            return ANYONE
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        sent = token.encode("latin-1").strip()  # the header's bytes
        caller = self.settings.tokens.caller(sent) if scheme.lower() == "bearer" else None
        if caller is None:
            hint = {"WWW-Authenticate": "Bearer"}
            raise ApiError(401, "unauthorized", "this server needs a token: Authorization: Bearer TOKEN", hint)
        return caller


class Door(APIRoute):
    """Refuses, before a byte of the body is read, who is not known and what is too large; and all while draining."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the door."""
        handle = super().get_route_handler()

        async def enter(request: Request) -> Response:
            service: Service = request.app.state.service
            if service.draining:
                raise busy("draining", "this server is stopping")
            request.state.caller = service.caller(request)
            with service.bodies.limited(request.receive, request.headers) as receive:
                return await handle(Request(request.scope, receive))

        return enter


# These are coroutines for speed: FastAPI gives every plain function among a route's dependencies a thread.


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _admin(request: Request) -> Caller:
    caller = await _caller(request)
    if not caller.admin:
        raise ApiError(403, "forbidden", f"{caller.name!r} is no administrator")
    return caller


TheService = Annotated[Service, Depends(_service)]
TheCaller = Annotated[Caller, Depends(_caller)]
TheAdmin = Annotated[Caller, Depends(_admin)]


def find(service: Service, caller: Caller, name: str) -> Served:
    """What is served under a name. Raises `ApiError` 403, 404 with the nearest name that the caller may use, or 503."""
    if len(name) > LONGEST:
        raise ApiError(404, "unknown_task", f"no task has a name of {len(name):,} characters")
    allow(caller, name)
    try:
        return service.catalogue.get(name)
    except OptionError as error:
        if not service.ready:
            raise busy("loading", f"this server is loading its tasks, and {name!r} is not there yet") from error
        hint = nearest(name, filter(caller.may, service.catalogue.names))
        raise ApiError(
            404, "unknown_task", f"unknown task {name!r}{hint}; GET /v1/tasks lists those there are"
        ) from error


def allow(caller: Caller, task: str) -> None:
    """Raises `ApiError` 403 where `caller` may not use a task, whether there is one of that name or not."""
    if not caller.may(task):
        raise ApiError(403, "forbidden", f"{caller.name!r} has no right to the task {task!r}")
