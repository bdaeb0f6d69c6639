"""One at a time, among processes and threads, and nothing left of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from vpt.data.locks import hold


def add(path: Path, times: int) -> None:
    """Counts up in a file, in a way that loses counts where two do it at once."""
    for _ in range(times):
        with hold(path.with_suffix(".lock")):
            count = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(count + 1))


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add, args=(path, 30)) for _ in range(3)]
    for worker in workers:
        worker.start()
    threads = [threading.Thread(target=add, args=(path, 30)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for one in (*workers, *threads):
        one.join()
    assert path.read_text() == str(5 * 30)
    assert [found.name for found in tmp_path.iterdir()] == ["count"]


def test_without_waiting_it_is_refused_until_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "lock"
    with hold(lock, wait=False) as alone:
        assert alone
        with pytest.raises(BlockingIOError), hold(lock, wait=False):
            pass
        assert lock.exists()
    with pytest.raises(KeyError), hold(lock, wait=False):
        raise KeyError
    with hold(lock, wait=False) as alone:
        assert alone
    assert not lock.exists()


def test_a_kill_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def die() -> None:
        with hold(lock):
            os.kill(os.getpid(), signal.SIGKILL)

    killed = multiprocessing.get_context("fork").Process(target=die)
    killed.start()
    killed.join()
    assert lock.exists()
    with hold(lock, wait=False) as alone:
        assert alone
    assert not lock.exists()
