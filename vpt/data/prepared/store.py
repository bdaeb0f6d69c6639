"""The images of a prepared task, read out of one memory-mapped file."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpt.data.decode import Pixels, decode_bytes
from vpt.data.pictures import packed, unpacked_pixels
from vpt.data.prepared.manifest import IMAGES, INDEX, NAMES, Manifest, damaged


class Store:
    """The files beside a manifest, each opened when first needed; a worker that is sent a store opens its own.

    index: `starts` (int64 [m + 1], where each of the m images begins in the file, and the end of the last),
    `checks` (uint32 [m], CRC-32 of the bytes of each), `fingerprints` (uint8 [m, 32], SHA-256 of each image's bytes at
    its source), and for every set `PART_rows` and `PART_labels` (int64 [n]): image i of the set is row `PART_rows[i]`.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}

    @cached_property
    def index(self) -> dict[str, NDArray[Any]]:
        """The arrays of `index.npz`; raises `DataError` where the file is damaged."""
        with np.load(io.BytesIO(self._whole(INDEX))) as arrays:
            return dict(arrays)

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """What the images are called at their source, by set; raises `DataError` where the file is damaged."""
        names: dict[str, list[str]] = json.loads(self._whole(NAMES))
        return names

    def row(self, row: int) -> NDArray[np.uint8]:
        """The bytes `uint8 [b]` of an image, a view of the file; raises `DataError` where others were written."""
        starts = self.index["starts"]
        stored = self._images[starts[row] : starts[row + 1]]
        if zlib.crc32(stored.data) != self.index["checks"][row]:  # SHA-256 would take as long as a small model on a GPU
            raise damaged(
                self.folder, [f"{self.describe(row)} was changed or damaged in {IMAGES} since it was written"]
            )
        return stored

    def describe(self, row: int) -> str:
        """What an image is called at its source, in the first set that has it."""
        for part, names in self.names.items():
            if len(places := np.flatnonzero(self.index[f"{part}_rows"] == row)):
                return names[int(places[0])]
        return f"image {row}"

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        size = self.manifest.files[IMAGES]["bytes"]
        try:  # with its size, since reading a map beyond the end of its file ends the process
            return np.memmap(self.folder / IMAGES, np.uint8, "r", shape=(size,))
        except (OSError, ValueError) as error:
            raise damaged(self.folder, [f"{IMAGES} cannot be mapped: {error}"]) from error

    def _whole(self, name: str) -> bytes:
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise damaged(self.folder, [f"{name} cannot be read: {error}"]) from error
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name]["sha256"]:
            raise damaged(self.folder, [f"{name} was changed or damaged since it was written"])
        return content


@dataclass(frozen=True)
class Prepared:
    """The `Pictures` of one set of a prepared task: image files or pixels as at the source, or resized pixels."""

    store: Store
    part: str

    def __len__(self) -> int:
        return len(self.store.index[f"{self.part}_rows"])

    def _row(self, i: int) -> int:
        return int(self.store.index[f"{self.part}_rows"][i])

    def decode(self, i: int) -> Pixels:
        stored = self.store.row(self._row(i))
        resize = self.store.manifest.resize
        if resize is not None:
            return np.array(stored).reshape(*resize["size"], 3)
        return self.decode_content(i, stored.tobytes())

    def decode_content(self, i: int, content: bytes) -> Pixels:
        pixels = unpacked_pixels(content)
        if pixels is not None:
            return pixels
        return decode_bytes(content, f"{self.describe(i)} in {self.store.folder}", self.store.manifest.largest)

    def describe(self, i: int) -> str:
        return self.store.names[self.part][i]

    def content(self, i: int) -> bytes:
        return self.store.row(self._row(i)).tobytes() if self.resized() is None else packed(self.decode(i))

    def fingerprint(self, i: int, content: bytes | None = None) -> bytes:
        """That of the image at its source, whatever lies here."""
        known: bytes = self.store.index["fingerprints"][self._row(i)].tobytes()
        return known

    def resized(self) -> dict[str, Any] | None:
        return self.store.manifest.resize
