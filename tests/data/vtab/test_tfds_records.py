"""How the programs that read TFDS' files are kept: one answer per request, whatever comes between the two."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpt.data.vtab import tfds_records
from vpt.data.vtab.tfds_records import Reader, reader
from vpt.errors import DataError

if not Path("/proc/self/stat").exists():
    pytest.skip("tells by /proc which programs run", allow_module_level=True)

PROGRAM = """
import os, pickle, sys
while True:
    try:
        number, split, positions, features = pickle.load(sys.stdin.buffer)
    except EOFError:
        sys.exit()
    if split == "dies":
        sys.exit("x" * 900 + " out of memory")
    if split == "mumbles":
        os.write(1, b"no pickle")
        continue
    answer = [{"position": position, "process": os.getpid()} for position in positions]
    os.write(1, pickle.dumps((number - (split == "late"), answer)))
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In place of `tfds_reader.py` one that needs no TFDS and answers with the positions."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(tfds_records, "PROGRAM", str(tmp_path / "program.py"))
    monkeypatch.setattr(tfds_records, "GRACE", 0.5)
    monkeypatch.setattr(tfds_records, "_readers", {})
    yield
    for one in tfds_records._readers.values():
        one.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Reader]:
    one = Reader(str(tmp_path))
    yield one
    one.close()


def position(asked: Reader, number: int) -> int:
    (example,) = asked.ask("train", [number], ["position"])
    return int(example["position"])


def process(asked: Reader) -> int:
    return int(asked.ask("train", [0], ["process"])[0]["process"])


def is_running(number: int) -> bool:
    """Whether there is such a process, which has not ended while nobody has taken note of it."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def between(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """`do` once between a request and its answer."""
    load = pickle.load

    def loaded(file: Any) -> Any:
        monkeypatch.setattr(pickle, "load", load)
        do()
        return load(file)

    monkeypatch.setattr(pickle, "load", loaded)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interrupted_request_shifts_no_later_answer(
    made: Reader, interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise interruption

    assert position(made, 1) == 1
    between(monkeypatch, interrupt)
    with pytest.raises(interruption):
        position(made, 2)
    assert [position(made, number) for number in (3, 4)] == [3, 4]


def test_a_program_that_ended_is_started_again(made: Reader) -> None:
    first = process(made)
    os.kill(first, signal.SIGKILL)
    while made._process.poll() is None:
        pass
    assert process(made) != first


def test_one_that_ends_on_a_request_tells_how_and_what_it_said_last(made: Reader) -> None:
    with pytest.raises(
        DataError, match=r"dies\[4 \.\. 5\] cannot be read: .* ended with 1, having said: x+ out of"
    ) as told:
        made.ask("dies", [4, 5], [])
    assert len(str(told.value)) < 900  # the end alone
    assert position(made, 6) == 6


def test_answers_to_others_are_refused(made: Reader) -> None:
    with pytest.raises(DataError, match="answered request 0 instead of 1"):
        made.ask("late", [0], [])
    with pytest.raises(DataError, match=r"ended with -9"):
        made.ask("mumbles", [0], [])
    assert position(made, 7) == 7


def test_an_interruption_at_the_terminal_is_not_for_it(made: Reader) -> None:
    assert os.getpgid(process(made)) != os.getpgid(0)
    assert os.getsid(process(made)) != os.getsid(0)


def test_two_programs_run_for_a_process_and_the_oldest_ends(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in "abc"]
    first, second = (process(reader(folder)) for folder in folders[:2])
    assert process(reader(folders[0])) == first
    third = process(reader(folders[2]))
    assert [is_running(number) for number in (first, second, third)] == [True, False, True]
    held = reader(folders[0])
    for folder in folders[1:]:
        process(reader(folder))
    assert not is_running(first)
    assert position(held, 5) == 5  # one who holds it still may ask


def test_programs_end_with_who_asks(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe(duplex=False)
    asking = context.Process(target=lambda: tell.send(process(reader(str(tmp_path)))))
    asking.start()
    number = told.recv()
    asking.join()
    for _ in range(1000):
        if not is_running(number):
            return
        time.sleep(0.01)
    pytest.fail("the program outlives the process that asked it")
