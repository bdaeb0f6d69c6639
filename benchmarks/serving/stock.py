"""What the server serves: a library of tasks on the embedded backbone, pictures, and each version's true answers."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import vpt
from benchmarks.serving import tasks
from benchmarks.serving.settings import Settings
from vpt.data.decode import decode_bytes

BACKBONE = "embedded"
PICTURES, SIDE = 8, 96
CHANGING, VISITING, SPARE = 4, 4, 2
"""Tasks that are replaced all the time, tasks that an administrator takes away and puts back, and artefacts that come
and go under ever new names.
"""


@dataclass(frozen=True)
class Stock:
    """A library with approved tasks, and the truth about them.

    pictures: PNG files. steady: tasks that stay as they are. changing: tasks of two versions, one of which is current.
    visiting: tasks that may be away. spare: artefacts for tasks that are yet to come.
    truth: float32 logits `[pictures, C]` by the SHA-256 of a task's tensors, of the task loaded alone.
    versions: by task, each version's SHA-256 by its number.
    """

    library: vpt.Library
    pictures: Sequence[bytes]
    steady: Sequence[str]
    changing: Sequence[str]
    visiting: Sequence[str]
    spare: Sequence[Path]
    truth: Mapping[str, np.ndarray]
    versions: dict[str, dict[int, str]]

    def enter(self, task: str, place: Path) -> None:
        """Add the saved task to the library as a version of `task`, and approve it."""
        version = self.library.add(place, task)
        self.versions.setdefault(task, {})[version.number] = digest(place)
        self.library.approve(task, version.number)


def digest(place: Path) -> str:
    """SHA-256 of a saved task's tensors, by which the server tells versions apart."""
    return str(vpt.artifacts.read(place).tensors["sha256"])


def stock(settings: Settings, folder: Path) -> Stock:
    """A new library in `folder`, in the place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    model, small = vpt.load_backbone(BACKBONE), replace(settings, length=4, classes=10)
    numbers = iter(range(10**6))

    def more(count: int) -> list[Path]:
        found = [next(numbers) for _ in range(count)]
        return [tasks.saved(model, small, folder / "artefacts" / str(i), i) for i in found]

    groups = {"steady": more(settings.steady), "changing": more(2 * CHANGING), "visiting": more(VISITING)}
    spare, pictures = more(SPARE), list(_pictures(PICTURES))
    seen = _inputs(model, pictures)
    truth = {digest(place): _alone(model, place, seen) for places in (*groups.values(), spare) for place in places}
    names = {
        "steady": [f"steady-{i}" for i in range(settings.steady)],
        "changing": [f"changing-{i}" for i in range(CHANGING)],
        "visiting": [f"visiting-{i}" for i in range(VISITING)],
    }
    made = Stock(vpt.Library(folder / "library"), pictures, **names, spare=spare, truth=truth, versions={})
    for group, places in groups.items():
        for i, place in enumerate(places):
            made.enter(names[group][i % len(names[group])], place)
    return made


def _pictures(count: int) -> Iterator[bytes]:
    """PNG files of coarse noise."""
    drawn = np.random.default_rng(0)
    for _ in range(count):
        pixels = Image.fromarray(drawn.integers(256, size=(12, 12, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        yield buffer.getvalue()


def _inputs(model: nn.Module, pictures: Sequence[bytes]) -> Tensor:
    taken = vpt.Preprocessing.of(model)
    return torch.stack([taken(decode_bytes(content, "a picture", SIDE**2)) for content in pictures])


def _alone(model: nn.Module, place: Path, seen: Tensor) -> np.ndarray:
    tuned = vpt.load(model, place)
    try:
        with torch.no_grad():
            return tuned.eval()(seen).numpy()  # type: ignore[no-any-return]
    finally:
        tuned.detach()
