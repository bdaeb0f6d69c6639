"""From images and task names to answers: decoded in threads, answered in shared batches, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from torch import Tensor

from vpt.data import Preprocessing
from vpt.data.decode import decode_bytes
from vpt.errors import DataError, OptionError
from vpt.serving.http.auth import Caller
from vpt.serving.http.batcher import Found, Full, Row
from vpt.serving.http.catalogue import Served
from vpt.serving.http.errors import GONE, ApiError, busy
from vpt.serving.http.schemas import Answer, Likely, Predicted, Seen
from vpt.serving.http.service import Service, find


@dataclass(frozen=True)
class Asked:
    """One image, and what is wanted of it. content: reads its file's bytes, in a thread; may raise `DataError`."""

    name: str
    content: Callable[[], bytes]
    tasks: Sequence[str]
    top: int
    logits: bool
    attention: bool


async def answered(request: Request, asked: Sequence[Asked], service: Service, caller: Caller) -> Predicted:
    """All answers, as long as there is somebody to hear them.

    Raises `ApiError`: 403 and 404 for tasks, 409 for one that left meanwhile, 422 for images and numbers of things,
    503 where there is no room, 504 when it is late.
    """
    names = _check(asked, service, caller)
    limit = service.settings.timeout
    try:
        async with asyncio.timeout(limit):
            found = await _while_here(request, _predicted(asked, names, service))
    except TimeoutError as error:
        raise ApiError(504, "timeout", f"there was no answer within {limit:g} seconds") from error
    except DataError as error:
        raise ApiError(422, "bad_image", str(error)) from error
    service.metrics.images.update(name for one in asked for name in one.tasks)
    return Predicted(images=found)


def _check(asked: Sequence[Asked], service: Service, caller: Caller) -> list[str]:
    """The tasks' names, each once, where the caller may use them, they exist, and there are not too many."""
    settings = service.settings
    if len(asked) > settings.max_images:
        raise ApiError(422, "too_many_images", f"{len(asked)} images; accepted: {settings.max_images} in a request")
    for one in asked:
        if not 1 <= len(one.tasks) <= settings.max_tasks:
            accepted = f"accepted: 1 to {settings.max_tasks}"
            raise ApiError(422, "number_of_tasks", f"{one.name} has {len(one.tasks)} tasks; {accepted}")
    rows = sum(len(one.tasks) for one in asked)
    if rows > settings.max_queue:
        raise ApiError(422, "too_many_rows", f"{rows} images times tasks; accepted: {settings.max_queue} in a request")
    names = list(dict.fromkeys(name for one in asked for name in one.tasks))
    for name in names:
        find(service, caller, name)
    return names


async def _while_here(request: Request, work: Coroutine[Any, Any, list[Seen]]) -> list[Seen]:
    """What `work` answers; it is cancelled where the client leaves, or whoever waits for this is cancelled."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(GONE, "gone", "the client left")
    finally:
        working.cancel()
        leaving.cancel()


async def _predicted(asked: Sequence[Asked], names: Sequence[str], service: Service) -> list[Seen]:
    """Decodes all images, then asks for all rows at once, so that they may share a pass."""
    with ExitStack() as held:
        served = _held(held, asked, names, service)
        prepared = await _decoded(asked, served, service)
        rows = [
            Row(image, served[name].key, one.attention)
            for one, images in zip(asked, prepared, strict=True)
            for name, image in zip(one.tasks, images, strict=True)
        ]
        found = iter(await service.batcher.ask(rows))
        return [Seen(name=one.name, answers=[_answer(one, served[n], next(found)) for n in one.tasks]) for one in asked]


def _held(held: ExitStack, asked: Sequence[Asked], names: Sequence[str], service: Service) -> Mapping[str, Served]:
    """The tasks by name, and room for the rows, both until `held` ends."""
    try:
        held.enter_context(service.batcher.room(sum(len(one.tasks) for one in asked)))
        return held.enter_context(service.catalogue.lease(names))
    except Full as error:
        raise busy("full", f"this server is full: {error}") from error
    except OptionError as error:  # the names were known a moment ago
        raise ApiError(409, "task_left", f"one of {', '.join(names)} was removed meanwhile") from error


async def _decoded(asked: Sequence[Asked], served: Mapping[str, Served], service: Service) -> list[list[Tensor]]:
    """What `_prepare` answers for each. When this ends none is being decoded any more, whatever it ends with."""
    decoding = [service.decoders.submit(_prepare, one, served, service) for one in asked]
    waiting = [asyncio.wrap_future(one) for one in decoding]
    try:
        return await asyncio.gather(*waiting)
    finally:
        running = [one for one in decoding if not one.cancel() and not one.done()]
        await asyncio.gather(*map(asyncio.wrap_future, running), return_exceptions=True)


def _prepare(one: Asked, served: Mapping[str, Served], service: Service) -> list[Tensor]:
    """The image for each of its tasks, `[3, H, W]`; tasks of equal preprocessing share one."""
    pixels = decode_bytes(one.content(), one.name, service.settings.max_pixels)
    made: dict[Preprocessing, Tensor] = {}
    for name in one.tasks:
        how = served[name].task.preprocessing
        if how not in made:
            made[how] = service.predictor.prepare(pixels, served[name].key)
    return [made[served[name].task.preprocessing] for name in one.tasks]


def _answer(one: Asked, served: Served, found: Found) -> Answer:
    result, looking = found
    if not result.logits.isfinite().all():
        raise FloatingPointError(f"task {served.name!r}, version {served.version}, gave NaN or infinity")
    return Answer(
        task=served.name,
        version=served.version,
        digest=served.task.digest,
        classes=[Likely(label=label, probability=p) for label, p in result.top(one.top)],
        logits=result.logits.tolist() if one.logits else None,
        attention=None if looking is None else looking.tolist(),
    )
