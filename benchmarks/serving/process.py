"""`vpt serve` in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpt.errors import OptionError

SECONDS = 180
"""For a server to answer, and to end."""


@contextmanager
def serving(library: str, backbone: str, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The real command at a free port, which writes into `log`; at the end it is told to stop, and has to.

    Raises `OptionError` with the end of the log where it ends in any other way than by itself, with 0.
    """
    command = [sys.executable, "-m", "vpt.cli.main", "serve", "--library", library, "--backbone", backbone]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as written:
        process = subprocess.Popen([*command, "--port", "0", *arguments], stdout=written, stderr=subprocess.STDOUT)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        if process.wait(SECONDS):
            raise OptionError(f"vpt serve ended with {process.returncode}: {_end(log)}")
    finally:
        process.kill()
        process.wait()


def address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL of a server that was started, as soon as it says so. Raises `OptionError` where it ended before."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"^serving .* at (http://\S+)$", log.read_text(errors="replace"), re.MULTILINE):
            return found[1]
        time.sleep(0.05)
    raise OptionError(f"vpt serve does not answer: {_end(log)}")


def _end(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-5:]) or f"{log} is empty"
