"""`Settings`: what the server takes from whom, and how long it waits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from vpt.errors import OptionError
from vpt.serving.http.auth import Tokens

MEBIBYTE = 2**20

_MAY_BE_0 = ("max_wait_ms",)


@dataclass(frozen=True)
class Settings:
    """Limits of the server. Raises `OptionError`, naming every field that is out of range.

    max_batch: most rows (an image for a task) of one forward pass; 1 is without batching.
    max_wait_ms: milliseconds that a batch waits for more rows once its first is there.
    max_queue: most rows that are in the house, from acceptance to answer; more are refused with 503.
    max_upload: bytes of a request's body. max_inflight: bytes of all bodies that are here; more are refused with 503.
    max_pixels: H × W of an image; one takes up to some 25 bytes a pixel while it is decoded.
    max_images, max_tasks: images of a request, and tasks of an image.
    timeout: seconds from a request's acceptance to its answer. body_timeout: seconds for its body to arrive.
    decoders: threads that decode images.
    tokens: who may do what; None lets everyone do everything.
    """

    max_batch: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 1024
    max_upload: int = 32 * MEBIBYTE
    max_inflight: int = 256 * MEBIBYTE
    max_pixels: int = 25_000_000
    max_images: int = 16
    max_tasks: int = 32
    timeout: float = 30.0
    body_timeout: float = 60.0
    decoders: int = 2
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{f.name}={getattr(self, f.name)!r}; accepted: {_say(f.name, f.default)}"
            for f in fields(self)
            if f.name != "tokens" and not _fits(getattr(self, f.name), f.name, f.default)
        ]
        if not wrong and self.max_inflight < self.max_upload:
            wrong = [f"max_inflight={self.max_inflight}; accepted: from max_upload, which is {self.max_upload}"]
        if wrong:
            raise OptionError("settings: " + "; ".join(wrong))

    @property
    def max_parts(self) -> int:
        """Commas and opening brackets of a JSON document: several times those of the largest request."""
        return 1000 + 10 * self.max_images * (self.max_tasks + 10)


def _fits(value: Any, name: str, default: Any) -> bool:
    kinds = (int,) if isinstance(default, int) else (int, float)
    number = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    return number and (value > 0 or (value == 0 and name in _MAY_BE_0))


def _say(name: str, default: Any) -> str:
    kind = "a whole number" if isinstance(default, int) else "a number"
    return f"{kind} {'from 0' if name in _MAY_BE_0 else 'above 0'}"
