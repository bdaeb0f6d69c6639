"""`run`: the application in uvicorn on this machine, until it is told to stop; then it ends what it began."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from vpt.errors import OptionError
from vpt.serving.http.service import Service

HEAD_SECONDS = 20
"""How long the head of a request, or the rest of a body that nobody reads, may take to arrive."""

KEEP_SECONDS = 75
"""How long a connection without a request is kept: longer than clients do, or it is closed just as a request comes."""


def run(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    max_connections: int = 1024,
    grace: float = 30.0,
    started: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was taken, for `grace` seconds at most; a second signal ends it.

    port: 0 for a free one. started: told the address once it answers.
    Raises `OptionError` where the address cannot be had, or `grace` is no time.
    """
    if not grace >= 0:
        raise OptionError(f"grace is {grace!r}; accepted: seconds from 0")
    listener = _listen(host, port)
    config = uvicorn.Config(
        app, http=_Punctual, ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=max_connections, timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_SECONDS,
    )  # fmt: skip
    server = _Server(config, app.state.service, grace, lambda: started(_url(listener)))
    with listener:
        server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise OptionError(f"cannot listen at {host}, port {port}: {error}") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Takes a signal as: refuse new requests with 503, answer those that are here, then stop listening."""

    def __init__(self, config: uvicorn.Config, service: Service, grace: float, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._grace, self._told = service, grace, started
        self._deadline = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; uvicorn would raise it again at the end, and so not exit with 0."""
        if self._service.draining:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self._service.draining = True
        self._deadline = time.monotonic() + self._grace

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        late = time.monotonic() > self._deadline
        if late:
            self._service.bodies.close()
        over = self._service.metrics.answering == 0 or late
        self.should_exit = self.should_exit or (self._service.draining and over)
        return await super().on_tick(counter)


class _Punctual(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """uvicorn's connection, closed where between two requests something arrives that does not become one in time."""

    _deadline: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._mind()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unmind()
        super().connection_lost(exc)

    def _mind(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unmind()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _unmind(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
