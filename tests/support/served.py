"""The real server on loopback: in a thread over a predictor that is there, or `vpt serve` in a process of its own."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpt.serving import Predictor
    from vpt.serving.http import Follower, Settings


@contextmanager
def served(
    predictor: Predictor, settings: Settings | None = None, follower: Follower | None = None, **options: Any
) -> Iterator[str]:
    """The address of a server in a thread, which drains at the end. options: of `vpt.serving.http.run`."""
    from vpt.serving.http import create_app, run

    app, address = create_app(predictor, settings, follower), queue.SimpleQueue[str]()
    thread = threading.Thread(target=run, args=(app,), kwargs={"port": 0, "started": address.put, **options})
    thread.start()
    try:
        yield address.get(timeout=60)
    finally:
        app.state.service.draining = True
        thread.join()


@dataclass
class Process:
    """A running `vpt serve`. lines: what it wrote so far, on both streams."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def output(self) -> str:
        """All that it wrote, once it has ended."""
        self.process.wait()
        if self.reader is not None:
            self.reader.join()
        return "".join(self.lines)


@contextmanager
def serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[Process]:
    """`vpt serve ARGUMENTS` at a free port of loopback, once it answers; killed at the end where it still runs."""
    command = [sys.executable, "-m", "vpt.cli.main", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
    )
    running, address = Process(process), queue.SimpleQueue[str | None]()

    def read() -> None:
        for line in process.stdout or ():
            running.lines.append(line)
            if line.startswith("serving ") and " at http" in line:
                address.put(line.split()[-1])
        address.put(None)

    running.reader = threading.Thread(target=read, daemon=True)
    running.reader.start()
    try:
        url = address.get(timeout=120)
        assert url is not None, "".join(running.lines)
        running.url = url
        yield running
    finally:
        process.kill()
        process.wait()
