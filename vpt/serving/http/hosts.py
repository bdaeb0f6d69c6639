"""The names by which a server may be addressed: a page from elsewhere, whose name leads here, has another one."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vpt.serving.http.errors import answer


class Addressed:
    """ASGI middleware: 400 for a `Host` that is none of `hosts`; ports do not matter."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and _name(Headers(scope=scope).get("host", "")) not in self._hosts:
            refusal = answer(400, "unknown_host", f"this server answers to {', '.join(sorted(self._hosts))}")
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _name(host: str) -> str:
    """`localhost` of `localhost:8000`, `::1` of `[::1]:8000`."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()
