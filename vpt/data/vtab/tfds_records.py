"""The examples of a prepared TFDS dataset as `Pictures` and features, read by programs of their own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from vpt.data.decode import MAX_PIXELS, Pixels, decode_bytes
from vpt.errors import DataError

BATCH = 256  # examples per request when labels are read


class Reader:
    """A running `tfds_reader.py` for one folder. Threads may share it; a forked process needs its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        program = str(Path(__file__).with_name("tfds_reader.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", program, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, split: str, positions: Sequence[int], features: Sequence[str]) -> list[dict[str, Any]]:
        """Those features of the examples at those positions; raises `DataError` naming them."""
        with self._lock:
            answer = self._answer((split, list(positions), list(features)))
        if isinstance(answer, str):
            which = str(positions[0]) if len(positions) == 1 else f"{positions[0]} .. {positions[-1]}"
            raise DataError(f"{self.folder}: {split}[{which}] cannot be read: {answer}")
        return cast(list[dict[str, Any]], answer)

    def _answer(self, request: tuple[str, list[int], list[str]]) -> Any:
        requests, answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            pickle.dump(request, requests)
            requests.flush()
            return pickle.load(answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # ValueError: closed
            return f"the program that reads it ended with {self._process.wait()}"


_readers: dict[tuple[int, str], Reader] = {}
_starting = threading.Lock()


def reader(folder: str) -> Reader:
    """This process' reader of the folder, started when first asked for; it ends with the process."""
    with _starting:
        own = (os.getpid(), folder)
        if own not in _readers:
            _readers[own] = Reader(folder)
        return _readers[own]


def _renew_lock() -> None:
    global _starting
    _starting = threading.Lock()  # another thread may have held it when this process was forked


os.register_at_fork(after_in_child=_renew_lock)


@dataclass(frozen=True)
class Records:
    """`positions` of a split of the dataset prepared in `folder`; `image` is done to every decoded image."""

    folder: str
    title: str
    split: str
    positions: range
    image: Callable[[Pixels], Pixels] | None = None
    max_pixels: int = MAX_PIXELS

    def __len__(self) -> int:
        return len(self.positions)

    def decode(self, i: int) -> Pixels:
        pixels = decode_bytes(self.content(i), self.describe(i), self.max_pixels)
        return pixels if self.image is None else self.image(pixels)

    def decode_content(self, i: int, content: bytes) -> Pixels | None:
        return decode_bytes(content, self.describe(i), self.max_pixels) if self.image is None else None

    def describe(self, i: int) -> str:
        return f"{self.title}/{self.split}[{self.positions[i]}]"

    def content(self, i: int) -> bytes:
        example = reader(self.folder).ask(self.split, [self.positions[i]], ["image"])[0]
        return bytes(example["image"])

    def features(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Those features of every example, in order; no pixel is decoded."""
        for start in range(0, len(self), BATCH):
            yield from reader(self.folder).ask(self.split, self.positions[start : start + BATCH], names)
