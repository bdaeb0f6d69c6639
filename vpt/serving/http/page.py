"""The page at `/`: its files, as they lie in the package, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

FOLDER = Path(__file__).with_name("page")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do (Content-Security-Policy): ask this server, show pictures; run and load its own files alone."""


def router() -> APIRouter:
    """A route for each file that is there now: no path comes from a client."""
    routes = APIRouter(include_in_schema=False)
    for file in sorted(FOLDER.rglob("*")) if FOLDER.is_dir() else []:
        if file.is_file() and file.suffix != ".py":
            name = file.relative_to(FOLDER).as_posix()
            routes.add_api_route("/" if name == "index.html" else f"/{name}", _sends(file), methods=["GET", "HEAD"])
    return routes


def _sends(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(file, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    return send
