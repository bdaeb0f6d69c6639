"""Tar shards of images and labels (the webdataset format), indexed once and read by position."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpt.data.decode import SUFFIXES, Pixels, decode_bytes
from vpt.data.lossy import HEAD
from vpt.errors import DataError

_BLOCK = 512  # bytes; a tar is made of these, and ends with two of zeros


@dataclass(frozen=True)
class TarMembers:
    """The `Pictures` of a split: image i is a member of a shard, at `places[i]` = (shard, offset, size), `[n, 3]`."""

    shards: tuple[str, ...]
    members: tuple[str, ...]
    places: NDArray[np.int64]
    max_pixels: int

    def __len__(self) -> int:
        return len(self.members)

    def decode(self, i: int) -> Pixels:
        try:
            return self.decode_content(i, self.content(i))
        except OSError as error:
            raise DataError(f"{self.describe(i)}: cannot be read: {error}") from error

    def describe(self, i: int) -> str:
        return f"{self.shards[self.places[i, 0]]}:{self.members[i]}"

    def content(self, i: int) -> bytes:
        shard, offset, size = self.places[i].tolist()
        with open(self.shards[shard], "rb") as file:
            file.seek(offset)
            return file.read(size)

    def decode_content(self, i: int, content: bytes) -> Pixels:
        return decode_bytes(content, self.describe(i), self.max_pixels)

    def heads(self, chosen: Iterable[int]) -> Iterator[bytes]:
        """The first `HEAD` bytes of the files of the `chosen` images; each shard is opened once where they follow."""
        with ExitStack() as opened:
            last = -1
            for shard, offset, size in (self.places[i].tolist() for i in chosen):
                if shard != last:
                    opened.close()
                    file, last = opened.enter_context(open(self.shards[shard], "rb", buffering=0)), shard
                file.seek(offset)
                yield file.read(min(size, HEAD))


class Split(NamedTuple):
    """Images and labels of all shards of a folder, and a line per fault, with which the others are not to be used."""

    pictures: TarMembers
    labels: list[int]
    faults: list[str]


def index(folder: Path, max_pixels: int) -> Split:
    """Reads what lies where in the shards of `folder`, by their numbers; images themselves are not looked at."""
    shards, faults = _shards(folder)
    members, places, labels = [], [], []
    for number, shard in enumerate(shards):
        try:
            samples, wrong = _samples(shard)
        except (tarfile.TarError, OSError, ValueError) as error:
            faults.append(f"{shard}: is damaged or cut short: {error}")
            continue
        faults += [f"{shard}:{fault}" for fault in wrong]
        for member, offset, size, label in samples:
            members.append(member)
            places.append((number, offset, size))
            labels.append(label)
    where = np.array(places, np.int64).reshape(-1, 3)
    return Split(TarMembers(tuple(map(str, shards)), tuple(members), where, max_pixels), labels, faults)


def _shards(folder: Path) -> tuple[list[Path], list[str]]:
    """The shards `0.tar` or `00000.tar`, ... by number, and what is wrong with them as a set."""
    found: dict[int, Path] = {}
    faults = []
    for path in sorted(folder.glob("*.tar")):
        number = int(path.stem) if path.stem.isdecimal() else -1
        if number < 0 or number in found:
            faults.append(f"{path}: {'is no numbered shard' if number < 0 else f'is shard {number} a second time'}")
        found.setdefault(number, path)
    count = max(found, default=-1) + 1
    told = folder / "nshards.txt"
    if told.is_file():
        text = told.read_text(errors="replace").strip()
        if text.isdecimal() and len(text) < 7:
            faults += [f"{found[n]}: is beyond the {text} shards of {told}" for n in sorted(found) if n >= int(text)]
            count = int(text)
        else:
            faults.append(f"{told}: {text!r} is no number of shards")
    if not count:
        faults.append(f"{folder}: has no shards (0.tar, 1.tar, ...)")
    missing = [str(n) for n in range(count) if n not in found]
    faults += [f"{folder}: has not the shards {', '.join(missing)} of {count}"] if missing else []
    return [found[n] for n in sorted(found)], faults


def _samples(shard: Path) -> tuple[list[tuple[str, int, int, int]], list[str]]:
    """The samples of a shard as (member, offset, size, label), in its order, and a line per fault in them.

    A sample is all members of one key: what stands before the first dot of a name. Raises for a damaged shard.
    """
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    faults = []
    for member, read in _members(shard):
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        key = folder + slash + stem
        kind: dict[str, Any] = labels if ending == "cls" else images
        if ending != "cls" and f".{ending.lower()}" not in SUFFIXES:
            continue
        if key in kind:
            faults.append(f"{member.name}: {key} has another {'label' if kind is labels else 'image'} already")
        kind[key] = read() if kind is labels else (member.name, member.offset_data, member.size)
    faults += [f"{images[key][0]}: has no {key}.cls" for key in images if key not in labels]
    faults += [f"{key}.cls: has no image" for key in labels if key not in images]
    faults += [f"{key}.cls: {text!r} is no label: 0, 1, 2, ..." for key, text in labels.items() if not _is_label(text)]
    return [] if faults else [(*place, int(labels[key])) for key, place in images.items()], faults


def _members(shard: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], str]]]:
    """The files of a shard, each with what reads it as text."""
    end = 0
    with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
            if member.isfile():
                yield member, partial(_text, tar, member)
        file.seek(end)
        if file.read(2 * _BLOCK) != bytes(2 * _BLOCK):  # tarfile takes a damaged or missing header for the end
            raise tarfile.ReadError(f"it breaks off after {end:,} bytes")


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member)
    return "" if file is None else file.read(_BLOCK).decode(errors="replace").strip()


def _is_label(text: str) -> bool:
    return text.isascii() and text.isdecimal()
