"""The HTTP server over a predictor: `create_app` for any ASGI server, `run` for this machine."""

from __future__ import annotations

from vpt.serving.http.app import create_app
from vpt.serving.http.auth import Tokens
from vpt.serving.http.follow import Follower
from vpt.serving.http.server import run
from vpt.serving.http.settings import Settings
from vpt.serving.http.sources import source_of

__all__ = ["Follower", "Settings", "Tokens", "create_app", "run", "source_of"]
