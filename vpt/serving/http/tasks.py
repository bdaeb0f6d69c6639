"""`/v1/tasks`: what is served, and, for administrators, what shall be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from vpt.errors import OptionError, VptError
from vpt.serving.http.catalogue import Served
from vpt.serving.http.errors import ApiError, clean, documented
from vpt.serving.http.schemas import Problem, PutTask, TaskDetails, TaskList, TaskSummary
from vpt.serving.http.service import Door, TheAdmin, TheCaller, TheService, allow, find

router = APIRouter(
    prefix="/v1/tasks",
    tags=["tasks"],
    route_class=Door,
    responses=documented(401, 403, 422, 500, 503),
)


@router.get("")
async def list_tasks(service: TheService, caller: TheCaller) -> TaskList:
    """The tasks that the caller may use, and those that do not load."""
    tasks = [_summary(served) for served in service.catalogue.all() if caller.may(served.name)]
    problems = sorted(service.catalogue.problems.items())
    return TaskList(
        tasks=tasks,
        problems=[Problem(name=clean(name), message=clean(message)) for name, message in problems if caller.may(name)],
        max_tasks=min(service.settings.max_tasks, service.settings.max_queue),
    )


@router.get("/{name}", responses=documented(404))
async def show_task(name: str, service: TheService, caller: TheCaller) -> TaskDetails:
    """All there is to say of one task."""
    return _details(find(service, caller, name))


@router.put(
    "/{name}",
    responses={**documented(400, 404, 408, 409, 413), 201: {"model": TaskDetails, "description": "It is new."}},
)
async def put_task(
    name: str, asked: PutTask, response: Response, service: TheService, caller: TheAdmin
) -> TaskDetails:  # fmt: skip
    """Serve a version of the library's; what has that name is replaced, and answers those who came before."""
    allow(caller, name)
    if service.follower is None:
        raise ApiError(409, "no_library", "this server has no library to take versions from")
    new = name not in service.catalogue.names
    await _do(partial(service.follower.serve, name, asked.version))
    response.status_code = 201 if new else 200
    return _details(find(service, caller, name))


@router.delete("/{name}", status_code=204, responses=documented(404, 409))
async def delete_task(name: str, service: TheService, caller: TheAdmin) -> None:
    """Serve a task no longer, until it is put again or the server starts again; who came before is answered."""
    find(service, caller, name)
    await _do(partial((service.follower or service.catalogue).drop, name))


async def _do(change: Callable[[], None]) -> None:
    """A change in a thread: loading takes a moment. Raises `ApiError` 404 or 409."""
    try:
        await asyncio.to_thread(change)
    except OptionError as error:
        raise ApiError(404, "unknown_task", str(error)) from error
    except VptError as error:
        raise ApiError(409, "does_not_load", str(error)) from error


def _summary(served: Served) -> TaskSummary:
    task, manifest = served.task, served.task.manifest
    return TaskSummary(
        name=served.name,
        version=served.version,
        digest=task.digest,
        method=None if manifest is None else manifest.method,
        num_classes=len(task.classes),
        bytes=task.bytes,
    )


def _details(served: Served) -> TaskDetails:
    manifest = served.task.manifest
    return TaskDetails(
        **_summary(served).model_dump(),
        classes=list(served.task.classes),
        backbone=manifest.part("backbone").get("name") if manifest else None,
        licence=manifest.licence if manifest else None,
        intended_use=manifest.intended_use if manifest else None,
        metrics=_numbers(manifest.metrics) if manifest else {},
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one number, and one that JSON has."""
    return {k: v for k, v in metrics.items() if type(v) in (int, float) and math.isfinite(v)}
