"""Every refusal of the server, in one shape: `{"error": {"code", "message"}}`."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from vpt.errors import some
from vpt.serving.http.schemas import Failure

GONE = 499
"""What is counted where the client left before its answer; nobody receives it."""

MEANINGS = {
    400: "The body cannot be read.",
    401: "No token, or an unknown one.",
    403: "This token has no right to that.",
    404: "No such task.",
    408: "The body did not arrive in time.",
    409: "What is asked contradicts what is there.",
    413: "The body is larger than this server takes.",
    415: "The body is of a type that is not accepted.",
    422: "A field, or an image, is not as it must be.",
    500: "The server failed.",
    503: "The server is full, loading or stopping; `Retry-After` says in how many seconds to ask again.",
    504: "The answer was not ready in time.",
}


class ApiError(HTTPException):
    """A refusal. code: for programs, in words_like_this; message: for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def busy(code: str, message: str) -> ApiError:
    """The refusal that asks to come again in a second."""
    return ApiError(503, code, message, {"Retry-After": "1"})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the schema says of a route that may refuse with these."""
    return {status: {"model": Failure, "description": MEANINGS[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Answer every refusal in the one shape; `Observed` does so for what nobody expected."""
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)


def clean(text: str) -> str:
    """Text that can be sent: JSON and file names may hold halves of characters, which UTF-8 does not have."""
    return text.encode(errors="replace").decode()


def answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal in the one shape."""
    return JSONResponse({"error": {"code": code, "message": clean(message)}}, status, headers)


def _refused(request: Request, error: Any) -> JSONResponse:
    code = error.code if isinstance(error, ApiError) else http.HTTPStatus(error.status_code).name.lower()
    return answer(error.status_code, code, str(error.detail), error.headers)


def _invalid(request: Request, error: Any) -> JSONResponse:
    """The fields and what is wrong with them; never what was given, which may be megabytes, or a secret."""
    faults = [f"{'.'.join(map(str, fault['loc']))[:100]}: {fault['msg']}"[:200] for fault in error.errors()]
    return answer(422, "invalid", some(faults))
