"""Commands, each in a process of its own that is forked from one which has imported already what takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
PRELOADED = [
    *("torch", "timm", "open_clip", "torchvision", "sklearn.metrics", "accelerate", "albumentations"),
    *("matplotlib.pyplot", "vpt.cli.main", "vpt.runs.run", "vpt.runs.gate"),
    *("vpt.serving", "vpt.estimator", "vpt.export"),
]

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(PRELOADED)


def command(words: Sequence[str], folder: Path) -> str:
    """What `vpt ...` or `python -m MODULE ...` writes on standard output, run in `folder`; it must end well."""
    return _output(_command, list(words), folder)


def program(source: str, folder: Path) -> str:
    """The same of a program, in which warnings of vpt's are errors."""
    return _output(_program, source, folder)


def _output(run: Callable[[Any], None], what: Any, folder: Path) -> str:
    with TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("out", "err")]
        process = _processes.Process(target=_child, args=(run, what, folder, *files))
        process.start()
        process.join()
        out, err = (file.read_text() for file in files)
    assert process.exitcode == 0, err[-3000:]
    return out


def _child(run: Callable[[Any], None], what: Any, folder: Path, *files: Path) -> None:
    os.chdir(folder)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.path.insert(0, str(ROOT))
    run(what)


def _command(words: list[str]) -> None:
    if words[0] == "vpt":
        from vpt.cli.main import main

        main(words[1:])
    sys.argv = words[2:]
    runpy.run_module(words[2], run_name="__main__", alter_sys=True)


def _program(source: str) -> None:
    warnings.filterwarnings("error", category=UserWarning, module="vpt")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(source, "<program>", "exec"), main.__dict__)
