"""The one pass over a task's images that prepares it."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from vpt.data.ahead import ahead
from vpt.data.arrays import whole_file
from vpt.data.decode import RULES, Pixels, decode_bytes
from vpt.data.imageset import ImageSet, Progress, digest, refuse
from vpt.data.pictures import packed, unpacked_pixels
from vpt.data.pixels import Preprocessing
from vpt.data.prepared.manifest import IMAGES, INDEX, MANIFEST, NAMES, Manifest, parts
from vpt.data.task import Task
from vpt.errors import DataError


@dataclass(frozen=True)
class _Entry:
    """An image on its way: SHA-256 at its source, what is written (None: it is there), pixels of the original."""

    fingerprint: bytes
    stored: bytes | None = None
    pixels: int = 0


@dataclass
class Writing:
    """Images with the same bytes, such as those of train in trainval, are decoded and written once.

    Threads that come upon the same new image at once each decode it.
    """

    task: Task
    preprocessing: Preprocessing | None
    progress: Progress | None
    rows: dict[bytes, int] = field(default_factory=dict)
    starts: list[int] = field(default_factory=lambda: [0])
    checks: list[int] = field(default_factory=list)
    largest: int = 0
    done: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def write(self, folder: Path) -> None:
        """All files of the prepared task, the manifest last; raises `DataError` listing all bad images."""
        sets = parts(self.task)
        with whole_file(folder / IMAGES) as file:
            rows = self._images(file, sets)
        fingerprints = np.frombuffer(b"".join(self.rows), np.uint8).reshape(-1, 32)
        index = {"starts": np.array(self.starts, np.int64), "checks": np.array(self.checks, np.uint32)}
        index["fingerprints"] = fingerprints
        for part, images in sets.items():
            index |= {f"{part}_rows": rows[part], f"{part}_labels": images.labels}
        with whole_file(folder / INDEX) as file:
            np.savez(file, **index)  # type: ignore[arg-type]  # numpy's own types take the names for its options
        names = {part: [images.describe(i) for i in range(len(images))] for part, images in sets.items()}
        digests = {part: digest(map(bytes, fingerprints[rows[part]]), sets[part].labels) for part in sets}
        _write_text(folder / NAMES, json.dumps(names))
        _write_text(folder / MANIFEST, self._manifest(folder, digests, _shared(rows)).to_json())

    def needed(self) -> int | None:
        """How many bytes all images take, none being there twice: judged by those written where they are not resized.

        None where none is written yet that would tell.
        """
        images = sum(map(len, self.task.sets().values()))
        if self.preprocessing:
            height, width = self.preprocessing.size
            return images * height * width * 3
        return self.starts[-1] * images // max(self.done, 1) or None

    def _images(self, file: IO[bytes], sets: dict[str, ImageSet]) -> dict[str, Any]:
        """Write every image once; the rows `int64 [n]` of each set."""
        total = sum(map(len, sets.values()))
        rows: dict[str, list[int]] = {part: [] for part in sets}
        faults: dict[str, None] = {}  # each once, though an image may stand in train and in trainval
        for part, images in sets.items():
            for entry in self._entries(images):
                if isinstance(entry, DataError):
                    faults[str(entry)] = None
                elif not faults:
                    rows[part].append(self._add(file, entry))
                self.done += 1
                if self.progress:
                    self.progress(self.done, total)
        refuse(list(faults), total, self.task.name)
        return {part: np.array(of_part, np.int64) for part, of_part in rows.items()}

    def _entries(self, images: ImageSet) -> Iterator[_Entry | DataError]:
        def entry(i: int) -> _Entry | DataError:
            try:
                return self._entry(images, i)
            except DataError as error:
                return error

        return ahead(entry, len(images))

    def _entry(self, images: ImageSet, i: int) -> _Entry:
        content = images.content(i)
        fingerprint = images.fingerprint(i, content)
        if fingerprint in self.rows:
            return _Entry(fingerprint)
        pixels, kept = images.decode_content(i, content), images.portable()
        if pixels is None:
            pixels = images.decode(i)
            kept = self.preprocessing is not None or _gives(content, pixels)
        if self.preprocessing:
            content = self.preprocessing.resize(pixels).tobytes()
        elif not kept:
            content = packed(pixels)
        return _Entry(fingerprint, content, pixels.shape[0] * pixels.shape[1])

    def _add(self, file: IO[bytes], entry: _Entry) -> int:
        """The row of the image, written where it is new: two threads may have found the same image to be so."""
        if entry.stored is not None and entry.fingerprint not in self.rows:
            file.write(entry.stored)
            self.sha256.update(entry.stored)
            self.rows[entry.fingerprint] = len(self.rows)
            self.checks.append(zlib.crc32(entry.stored))
            self.starts.append(self.starts[-1] + len(entry.stored))
            self.largest = max(self.largest, entry.pixels)
        return self.rows[entry.fingerprint]

    def _versions(self) -> dict[str, str]:
        """Of what makes the pixels: what did so already where they come resized."""
        resized = self.task.train.resized() is not None
        return dict(self.task.prepared_with) if resized else {"pillow": PIL.__version__, "torch": torch.__version__}

    def _manifest(self, folder: Path, digests: dict[str, str], shared: list[str]) -> Manifest:
        files = {IMAGES: {"bytes": self.starts[-1], "sha256": self.sha256.hexdigest()}}
        for name in (INDEX, NAMES):
            content = (folder / name).read_bytes()
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sets = {
            part: {"name": images.name, "route": images.route, "images": len(images), "digest": digests[part]}
            for part, images in parts(self.task).items()
        }
        return Manifest(
            name=self.task.name,
            about=self.task.about,
            classes=list(self.task.classes),
            splits=dict(self.task.splits),
            deviations=list(dict.fromkeys([*self.task.deviations, *shared])),
            sets=sets,
            resize=self.preprocessing.resizing() if self.preprocessing else None,
            decoding=dict(RULES),
            largest=self.largest,
            versions=self._versions(),
            files=files,
        )


def _shared(rows: dict[str, NDArray[np.int64]]) -> list[str]:
    """A line for each set that has images which were learned from before it is judged by."""
    learned, lines = set(rows["train"].tolist()), []
    for part, of in (("val", "train"), ("test", "train or val")):
        if known := sum(row in learned for row in rows[part].tolist()):
            lines.append(f"{known:,} of the {len(rows[part]):,} images of {part} are also in {of}, byte for byte")
        learned |= set(rows[part].tolist())
    return lines


def _gives(content: bytes, pixels: Pixels) -> bool:
    """Whether `content` alone is enough to get back these pixels."""
    image = unpacked_pixels(content)
    if image is not None:
        return np.array_equal(image, pixels)
    try:
        return np.array_equal(decode_bytes(content, "", pixels.size), pixels)
    except DataError:
        return False


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
