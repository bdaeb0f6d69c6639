"""`POST /v1/predict` and `/v1/predict/json`: images, each for one task or several."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request

from vpt.errors import DataError
from vpt.serving.http.answers import Asked, answered
from vpt.serving.http.errors import ApiError, clean, documented
from vpt.serving.http.schemas import Predicted, PredictForm, PredictItems
from vpt.serving.http.service import Door, TheCaller, TheService

router = APIRouter(
    prefix="/v1/predict",
    tags=["predict"],
    route_class=Door,
    responses=documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503, 504),
)


def _media(accepted: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that refuses a body of another type."""

    async def check(request: Request) -> None:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != accepted:
            raise ApiError(415, "unsupported_media_type", f"the body is of type {given!r}; accepted: {accepted}")

    return check


@router.post("", dependencies=[Depends(_media("multipart/form-data"))])
async def predict(
    request: Request,
    form: Annotated[PredictForm, Form(media_type="multipart/form-data")],
    service: TheService,
    caller: TheCaller,
) -> Predicted:
    """Answer images sent as files, each for every task."""
    if sum(field.count(",") for field in form.task) > service.settings.max_parts:
        raise ApiError(422, "number_of_tasks", f"the form has more than {service.settings.max_parts:,} tasks")
    tasks = _once(part.strip() for field in form.task for part in field.split(","))
    asked = [
        Asked(_called(file.filename, i), file.file.read, tasks, form.top, form.logits, form.attention)
        for i, file in enumerate(form.image, 1)
    ]
    return await answered(request, asked, service, caller)


@router.post("/json", dependencies=[Depends(_media("application/json"))])
async def predict_json(
    request: Request, document: PredictItems, service: TheService, caller: TheCaller
) -> Predicted:  # fmt: skip
    """Answer images sent in base64, each for its own tasks."""
    asked = []
    for number, item in enumerate(document.items, 1):
        name = _called(item.name, number)
        tasks = _once(item.tasks)
        asked.append(Asked(name, _in_base64(item.image, name), tasks, item.top, item.logits, item.attention))
    return await answered(request, asked, service, caller)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, names)))


def _called(name: str | None, number: int) -> str:
    return clean(name[:200]) if name else f"image {number}"


def _in_base64(text: str, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{name} is not base64: {error}") from error

    return read
