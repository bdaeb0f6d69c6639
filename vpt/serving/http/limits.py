"""The body of a request: so many bytes, in so many seconds."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from vpt.serving.http.errors import ApiError


def limited(receive: Receive, headers: Headers, most: int, seconds: float) -> Receive:
    """A `receive` that raises `ApiError`: 413 after `most` bytes, or where `headers` promise more; 408 in time."""
    _check_promise(headers.get("content-length", "0"), most)
    deadline, got, complete = time.monotonic() + seconds, 0, False

    async def guarded() -> Message:
        nonlocal got, complete
        if complete:  # all that can come now is that the client leaves, whenever it likes
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise ApiError(408, "slow_upload", f"the body did not arrive within {seconds:g} seconds") from None
        got += len(message.get("body", b""))
        if got > most:
            raise _too_large(most)
        complete = not message.get("more_body", False)
        return message

    return guarded


def _check_promise(length: str, most: int) -> None:
    if not length.isascii() or not length.isdigit():
        raise ApiError(400, "bad_request", "Content-Length is not a number")
    if int(length[:20]) > most:  # more digits than that Python would take minutes to read, and they promise too much
        raise _too_large(most)


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"the body is larger than {most:,} bytes")
