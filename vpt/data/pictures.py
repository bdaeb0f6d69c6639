"""Where pixels come from: what an `ImageSet` reads its images out of. All of it lazy and picklable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vpt.data.decode import MAX_PIXELS, Pixels, decode_bytes, decode_file


class Pictures(Protocol):
    """n images without labels. `decode` may raise only `DataError`, and names the image in it.

    What `fingerprint`, `decode_content`, `portable` and `resized` below ask for, pictures may answer by a method of
    that name.
    """

    def __len__(self) -> int: ...

    def decode(self, i: int) -> Pixels:
        """Image i as RGB `uint8 [H, W, 3]`."""

    def describe(self, i: int) -> str:
        """A path, or something like `digits[17]`."""

    def content(self, i: int) -> bytes:
        """The bytes that image i is made of: what its digest is taken over."""


def fingerprint(pictures: Pictures, i: int, content: bytes | None = None) -> bytes:
    """SHA-256 of the `content` of image i, which is read only where it is neither given nor the answer known."""
    if known := getattr(pictures, "fingerprint", None):
        answer: bytes = known(i, content)
        return answer
    return hashlib.sha256(pictures.content(i) if content is None else content).digest()


def decode_content(pictures: Pictures, i: int, content: bytes) -> Pixels | None:
    """Image i from its content, read before; None where these pictures do not know how."""
    known = getattr(pictures, "decode_content", None)
    return known(i, content) if known else None


def portable(pictures: Pictures) -> bool:
    """Whether `decode_content` does no more than decode the content, an image file or `packed` pixels."""
    known = getattr(pictures, "portable", None)
    return not known or bool(known())


def resized(pictures: Pictures) -> dict[str, Any] | None:
    """How all pictures were resized when they were prepared (`Preprocessing.resizing`); None where they were not."""
    known = getattr(pictures, "resized", None)
    return known() if known else None


def packed(image: NDArray[np.uint8]) -> bytes:
    """`uint8 [H, W]` or `[H, W, 3]` as bytes: the shape in words, then the values."""
    return str(image.shape).encode() + image.tobytes()


def unpacked(content: bytes) -> NDArray[np.uint8] | None:
    """The inverse of `packed`; None for other content."""
    head = _PACKED.match(content)
    if head is None:
        return None
    shape = tuple(int(n) for n in head.groups() if n is not None)
    fits = len(content) - head.end() == int(np.prod(shape))
    return np.frombuffer(content, np.uint8, offset=head.end()).reshape(shape) if fits else None


_PACKED = re.compile(rb"\((\d{1,9}), (\d{1,9})(?:, (3))?\)")


def coloured(image: NDArray[np.uint8]) -> Pixels:
    """`uint8 [H, W]` (grey) or `[H, W, 3]` as an own `[H, W, 3]`."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image.copy()


def unpacked_pixels(content: bytes) -> Pixels | None:
    """The image that was `packed`, coloured; None for other content."""
    image = unpacked(content)
    return None if image is None else coloured(image)


@dataclass(frozen=True)
class Files:
    """Image files, decoded when asked for; images above `max_pixels` are refused."""

    paths: tuple[str, ...]
    max_pixels: int = MAX_PIXELS

    def __len__(self) -> int:
        return len(self.paths)

    def decode(self, i: int) -> Pixels:
        return decode_file(self.paths[i], self.max_pixels)

    def describe(self, i: int) -> str:
        return self.paths[i]

    def content(self, i: int) -> bytes:
        return Path(self.paths[i]).read_bytes()

    def decode_content(self, i: int, content: bytes) -> Pixels:
        return decode_bytes(content, self.paths[i], self.max_pixels)


@dataclass(frozen=True)
class Arrays:
    """Images in memory: `images` is `uint8 [n, H, W]` (grey), `[n, H, W, 3]`, or a sequence of such arrays."""

    name: str
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.images)

    def decode(self, i: int) -> Pixels:
        return coloured(self.images[i])

    def describe(self, i: int) -> str:
        return f"{self.name}[{i}]"

    def content(self, i: int) -> bytes:
        return packed(self.images[i])

    def decode_content(self, i: int, content: bytes) -> Pixels | None:
        return unpacked_pixels(content)


@dataclass(frozen=True)
class Joined:
    """The pictures of `first`, then those of `second`."""

    first: Pictures
    second: Pictures

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def _at(self, i: int) -> tuple[Pictures, int]:
        return (self.first, i) if i < len(self.first) else (self.second, i - len(self.first))

    def decode(self, i: int) -> Pixels:
        pictures, j = self._at(i)
        return pictures.decode(j)

    def describe(self, i: int) -> str:
        pictures, j = self._at(i)
        return pictures.describe(j)

    def content(self, i: int) -> bytes:
        pictures, j = self._at(i)
        return pictures.content(j)

    def fingerprint(self, i: int, content: bytes | None = None) -> bytes:
        return fingerprint(*self._at(i), content)

    def decode_content(self, i: int, content: bytes) -> Pixels | None:
        return decode_content(*self._at(i), content)

    def resized(self) -> dict[str, Any] | None:
        return resized(self.first)  # `ImageSet.join` lets no others come together

    def portable(self) -> bool:
        return portable(self.first) and portable(self.second)
