"""Decoded and resized images in one memory-mapped file, named by everything that its content depends on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from vpt.data.ahead import ahead
from vpt.data.arrays import open_rows, whole_file, write_header
from vpt.data.decode import RULES, Pixels
from vpt.data.disk import unwritable
from vpt.data.imageset import ImageSet, Progress, refuse
from vpt.data.pixels import Preprocessing
from vpt.errors import DataError

FORMAT = 1  # of the cache files; part of their name


@dataclass
class Cache:
    """An existing cache file: `cache[i]` is `uint8 [H, W, 3]`. Workers map the file, they do not copy it."""

    path: Path
    _mapped: NDArray[np.uint8] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, images: ImageSet, preprocessing: Preprocessing, folder: Path, progress: Progress | None = None
    ) -> Cache:
        """The cache of these images at this size in `folder`, written first if it is not there or damaged.

        Raises `DataError` listing all images that cannot be decoded, and for a full disk; then nothing is written.
        """
        path = folder / f"{key(images, preprocessing)}.npy"
        shape = (len(images), *preprocessing.size, 3)
        try:
            if not _is_whole(path, shape):
                _write(path, shape, images, preprocessing, progress)
        except OSError as error:
            raise unwritable(path, error, math.prod(shape)) from error
        return cls(path)

    def __getitem__(self, i: int) -> Pixels:
        if self._mapped is None:
            self._mapped = np.load(self.path, mmap_mode="r")
        return np.array(self._mapped[i])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_mapped": None}  # a memory map would be pickled as the array itself


def key(images: ImageSet, preprocessing: Preprocessing) -> str:
    """SHA-256 over all that decides the content: bytes and labels, decoding rules, resize, and who decodes."""
    makers = {"format": FORMAT, "pillow": PIL.__version__, "torch": torch.__version__}
    whole = {"images": images.digest(), "rules": RULES, "resize": preprocessing.resizing(), **makers}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    found = open_rows(path, shape[0])
    return found is not None and found.shape == shape and found.dtype == np.uint8


def _write(
    path: Path, shape: tuple[int, ...], images: ImageSet, preprocessing: Preprocessing, progress: Progress | None
) -> None:
    """Decode all images into `path`; raises `DataError` listing all that cannot be, and leaves no file then."""
    faults: list[str] = []
    with whole_file(path) as file:
        write_header(file, shape, np.uint8)
        for done, row in enumerate(_rows(images, preprocessing), 1):
            if isinstance(row, DataError):
                faults.append(str(row))
            elif not faults:
                file.write(row.tobytes())
            if progress:
                progress(done, len(images))
        refuse(faults, len(images), images.name)


def _rows(images: ImageSet, preprocessing: Preprocessing) -> Iterator[Pixels | DataError]:
    def row(i: int) -> Pixels | DataError:
        try:
            return preprocessing.resize(images.decode(i))
        except DataError as error:
            return error

    return ahead(row, len(images))
