"""The examples of a prepared TFDS dataset as `Pictures` and features, read by programs of their own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from vpt.data.decode import MAX_PIXELS, Pixels, decode_bytes
from vpt.errors import DataError

BATCH = 256  # examples per request when labels are read
MOST = 2  # programs that run for a process: each holds TFDS in memory
GRACE = 5.0  # seconds in which a program that gave no answer may end by itself
TAIL = 500  # bytes of what it said last, for the message
PROGRAM = str(Path(__file__).with_name("tfds_reader.py"))


class Reader:
    """Runs `tfds_reader.py` for one folder, anew where it has ended. Threads may share it; a forked process may not."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None  # what the program writes to its standard error
        self._asked = 0

    def ask(self, split: str, positions: Sequence[int], features: Sequence[str]) -> list[dict[str, Any]]:
        """Those features of the examples at those positions; raises `DataError` naming them."""
        with self._lock:
            try:
                answer = self._answer(split, list(positions), list(features))
            except BaseException:  # an interruption: the next to ask must not be given this answer
                self._end()
                raise
        if isinstance(answer, str):
            which = str(positions[0]) if len(positions) == 1 else f"{positions[0]} .. {positions[-1]}"
            raise DataError(f"{self.folder}: {split}[{which}] cannot be read: {answer}")
        return cast(list[dict[str, Any]], answer)

    def close(self) -> None:
        """Ends the program, after the answer that it is busy with; whoever asks again starts another."""
        with self._lock:
            self._end()

    def _answer(self, *request: object) -> Any:
        process = self._running()
        requests, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        self._asked += 1
        try:
            pickle.dump((self._asked, *request), requests)
            requests.flush()
            number, answer = pickle.load(answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # ValueError: closed
            return self._how_it_ended(process)
        if number != self._asked:
            self._end()
            return f"the program that reads it answered request {number} instead of {self._asked}"
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-P", PROGRAM, self.folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # an interruption at the terminal is for this process alone
            )
        return self._process

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        with suppress(subprocess.TimeoutExpired):  # it is ending, or has said what is no answer
            process.wait(GRACE)
        process.kill()
        code, said = process.wait(), ""
        if self._said is not None:
            self._said.seek(max(self._said.seek(0, os.SEEK_END) - TAIL, 0))
            said = self._said.read().decode(errors="replace").strip()
        self._end()
        return f"the program that reads it ended with {code}{said and f', having said: {said}'}"

    def _end(self) -> None:
        process, said = self._process, self._said
        self._process = self._said = None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not sent yet has nowhere to go
                    cast(IO[bytes], stream).close()
        if said is not None:
            said.close()


_readers: dict[tuple[int, str], Reader] = {}
_starting = threading.Lock()


def reader(folder: str) -> Reader:
    """This process' reader of the folder. Of all its readers, the two last asked for keep their programs running."""
    with _starting:
        own = (os.getpid(), folder)
        _readers[own] = _readers.pop(own) if own in _readers else Reader(folder)  # the last of them now
        for older in [other for (process, _), other in _readers.items() if process == own[0]][:-MOST]:
            older.close()
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
        return self.decode_content(i, self.content(i))

    def decode_content(self, i: int, content: bytes) -> Pixels:
        pixels = decode_bytes(content, self.describe(i), self.max_pixels)
        return pixels if self.image is None else self.image(pixels)

    def portable(self) -> bool:
        return self.image is None

    def describe(self, i: int) -> str:
        return f"{self.title}/{self.split}[{self.positions[i]}]"

    def content(self, i: int) -> bytes:
        example = reader(self.folder).ask(self.split, [self.positions[i]], ["image"])[0]
        return bytes(example["image"])

    def features(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Those features of every example, in order; no pixel is decoded."""
        for start in range(0, len(self), BATCH):
            yield from reader(self.folder).ask(self.split, self.positions[start : start + BATCH], names)
