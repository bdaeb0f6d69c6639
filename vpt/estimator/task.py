"""A saved task in memory: its files by name, as they would lie in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from vpt.artifacts import load, save
from vpt.artifacts.files import write_files
from vpt.artifacts.schema import CARD, CONFIG, TENSORS
from vpt.backbones import Tokenizer
from vpt.methods import Tuned, TunedClip


def files_of(model: Tuned | TunedClip, **facts: Any) -> dict[str, bytes]:
    """The files that `vpt.save(model, folder, **facts)` writes."""
    with TemporaryDirectory(prefix="vpt-task-") as folder:
        save(model, folder, **facts)
        return {name: (Path(folder) / name).read_bytes() for name in (TENSORS, CONFIG, CARD)}


def write_task(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files into `folder`, and answer with it. Raises `ArtifactError` where it is a file."""
    write_files(folder, files[TENSORS], files[CONFIG], files[CARD])
    return folder


@contextmanager
def attached(
    backbone: nn.Module, files: Mapping[str, bytes], tokenizer: Tokenizer | None
) -> Iterator[Tuned | TunedClip]:
    """The task on its backbone, taken off at the end; raises as `vpt.load`."""
    with TemporaryDirectory(prefix="vpt-task-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        model = load(backbone, folder, tokenizer=tokenizer)
    try:
        yield model
    finally:
        model.detach()
