"""Where pixels come from: what an `ImageSet` reads its images out of. All of it lazy and picklable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vpt.data.decode import MAX_PIXELS, Pixels, decode_file


class Pictures(Protocol):
    """n images without labels. `decode` may raise only `DataError`, and names the image in it."""

    def __len__(self) -> int: ...

    def decode(self, i: int) -> Pixels:
        """Image i as RGB `uint8 [H, W, 3]`."""

    def describe(self, i: int) -> str:
        """A path, or something like `digits[17]`."""

    def content(self, i: int) -> bytes:
        """The bytes that image i is made of: what its digest is taken over."""


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


@dataclass(frozen=True)
class Arrays:
    """Images in memory: `images` is `uint8 [n, H, W]` (grey), `[n, H, W, 3]`, or a sequence of such arrays."""

    name: str
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.images)

    def decode(self, i: int) -> Pixels:
        image = self.images[i]
        return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image.copy()

    def describe(self, i: int) -> str:
        return f"{self.name}[{i}]"

    def content(self, i: int) -> bytes:
        return str(self.images[i].shape).encode() + self.images[i].tobytes()


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
