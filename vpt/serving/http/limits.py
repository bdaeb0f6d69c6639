"""The bodies of requests: so many bytes and parts, in so many seconds, and so many bytes of all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from vpt.serving.http.errors import ApiError, busy
from vpt.serving.http.settings import Settings


class Bodies:
    """All bodies that are here, from their first byte to the answer; of one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.held = 0  # bytes
        self.closed = False
        self.arriving: set[asyncio.Timeout] = set()

    @contextmanager
    def limited(self, receive: Receive, headers: Headers) -> Iterator[Receive]:
        """A `receive` that raises `ApiError`, and whose bytes count until the end of this.

        413 after `max_upload` bytes, or where `headers` promise more; 408 after `body_timeout`; 422 for a document of
        too many parts; 503 where there is no room, or the server ends.
        """
        _check_promise(headers.get("content-length", "0"), self.settings.max_upload)
        document = "json" in headers.get("content-type", "").partition(";")[0].lower()
        body = _Body(self, receive, document)
        try:
            yield body
        finally:
            self.held -= body.got

    def close(self) -> None:
        """Refuse what has not arrived yet."""
        self.closed = True
        for patience in self.arriving:
            if not patience.expired():
                patience.reschedule(0)


@dataclass
class _Body:
    """One body. document: whether it is JSON, whose parts are counted before it is parsed: that would block all."""

    among: Bodies
    receive: Receive
    document: bool
    got: int = 0  # bytes
    parts: int = 0
    complete: bool = False
    begun: float = field(default_factory=time.monotonic)

    async def __call__(self) -> Message:
        if self.complete:  # all that can come now is that the client leaves, whenever it likes
            return await self.receive()
        message = await self._next()
        self._count(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        seconds = self.among.settings.body_timeout
        rest = 0.0 if self.among.closed else max(0.0, self.begun + seconds - time.monotonic())
        try:
            async with asyncio.timeout(rest) as patience:
                self.among.arriving.add(patience)
                try:
                    return await self.receive()
                finally:
                    self.among.arriving.discard(patience)
        except TimeoutError:
            if self.among.closed:
                raise busy("draining", "this server is stopping") from None
            raise ApiError(408, "slow_upload", f"the body did not arrive within {seconds:g} seconds") from None

    def _count(self, content: bytes) -> None:
        settings = self.among.settings
        self.got += len(content)
        self.among.held += len(content)
        if self.got > settings.max_upload:
            raise _too_large(settings.max_upload)
        if self.among.held > settings.max_inflight:
            raise busy("full", f"this server is full: it has requests of {settings.max_inflight:,} bytes")
        self.parts += sum(map(content.count, (b",", b"[", b"{"))) if self.document else 0
        if self.parts > settings.max_parts:
            raise ApiError(422, "too_many_parts", f"the document has more than {settings.max_parts:,} lists and fields")


def _check_promise(length: str, most: int) -> None:
    if not length.isascii() or not length.isdigit():
        raise ApiError(400, "bad_request", "Content-Length is not a number")
    if int(length[:20]) > most:  # more digits than that Python would take minutes to read, and they promise too much
        raise _too_large(most)


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"the body is larger than {most:,} bytes")
