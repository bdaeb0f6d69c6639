"""Rendered by vpt in the spirit of dSprites (it is not dSprites): where a shape is, where it points, how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vpt.data.decode import Pixels
from vpt.data.embedded.outlines import DIRECTED, OUTLINES
from vpt.data.embedded.render import SIZE, Shape, render
from vpt.data.imageset import ImageSet
from vpt.data.task import Task
from vpt.errors import OptionError

ABOUT = "64x64 RGB, rendered by vpt from seeds in the spirit of dSprites (not dSprites' own images)"
PARTS = ("train", "val", "test")
_MARGIN = 0.1  # share of a bin at its borders that stays empty, so that every label can be told

Compose = Callable[[int, np.random.Generator], list[Shape]]


def _any_angle(rng: np.random.Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))


def _within_bin(label: int, bins: int, rng: np.random.Generator) -> float:
    """A place in 0 .. 1 inside bin `label` of `bins`."""
    return float((label + rng.uniform(_MARGIN, 1 - _MARGIN)) / bins)


def _at(label: int, rng: np.random.Generator) -> list[Shape]:
    radius, inset = rng.uniform(5, 9), 10
    x = inset + (SIZE - 2 * inset) * _within_bin(label, 8, rng)
    return [Shape(str(rng.choice(list(OUTLINES))), x, rng.uniform(inset, SIZE - inset), radius, _any_angle(rng))]


def _pointing(label: int, rng: np.random.Generator) -> list[Shape]:
    angle = 2 * np.pi * (_within_bin(label, 8, rng) - 1 / 16)  # bins are centred on up, up-right, right, ...
    radius = rng.uniform(12, 22)
    x, y = rng.uniform(radius, SIZE - radius, 2)
    return [Shape(str(rng.choice(DIRECTED)), x, y, radius, angle)]


def _many(label: int, rng: np.random.Generator) -> list[Shape]:
    """label + 1 shapes that do not touch; six of them always find room (their circles fill a third of the picture)."""
    shapes: list[Shape] = []
    while len(shapes) <= label:
        radius = rng.uniform(5, 8.5)
        x, y = rng.uniform(radius, SIZE - radius, 2)
        if all(np.hypot(x - other.x, y - other.y) > radius + other.radius + 1.5 for other in shapes):
            shapes.append(Shape(str(rng.choice(list(OUTLINES))), x, y, radius, _any_angle(rng)))
    return shapes


@dataclass(frozen=True)
class Scene:
    """A rendered task: its class names, and which shapes make up a picture of a class."""

    classes: tuple[str, ...]
    compose: Compose


_COMPASS = ("up", "up-right", "right", "down-right", "down", "down-left", "left", "up-left")
SCENES = {
    "location": Scene(tuple(f"column {c + 1} of 8" for c in range(8)), _at),
    "orientation": Scene(_COMPASS, _pointing),
    "count": Scene(tuple(str(n) for n in range(1, 7)), _many),
}


@dataclass(frozen=True)
class Rendered:
    """`count` pictures of a scene, drawn when asked for. Picture i depends on (scene, seed, part, i) alone."""

    scene: str
    part: str
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def label(self, i: int) -> int:
        """Classes take turns: every set is balanced, and a larger one begins with the smaller."""
        return i % len(SCENES[self.scene].classes)

    def decode(self, i: int) -> Pixels:
        rng = np.random.default_rng([self.seed, sorted(SCENES).index(self.scene), PARTS.index(self.part), i])
        return render(SCENES[self.scene].compose(self.label(i), rng), rng)

    def describe(self, i: int) -> str:
        return f"{self.scene}/{self.part}[{i}]"

    def content(self, i: int) -> bytes:
        return self.decode(i).tobytes()

    def decode_content(self, i: int, content: bytes) -> Pixels:
        return np.frombuffer(content, np.uint8).reshape(SIZE, SIZE, 3).copy()

    def portable(self) -> bool:
        return False  # the shape of the content is known here alone


def rendered(scene: str, train: int = 800, val: int = 200, test: int = 1000, split_seed: int = 0) -> Task:
    """The task `scene` ("location", "orientation" or "count") with that many images, drawn by `split_seed`."""
    sizes = {"train": train, "val": val, "test": test}
    sets = {part: _images(scene, part, split_seed, count) for part, count in sizes.items()}
    splits = {part: f"drawn from seed {split_seed}" for part in sizes}
    return Task(scene, sets["train"], sets["val"], sets["test"], about=ABOUT, splits=splits)


def _images(scene: str, part: str, seed: int, count: int) -> ImageSet:
    pictures = Rendered(scene, part, seed, count)
    labels: Sequence[int] = [pictures.label(i) for i in range(count)]
    if not labels:
        raise OptionError(f"{scene}: {part}=0 images asked for; accepted: 1, 2, 3, ...")
    return ImageSet(f"{scene}/{part}", SCENES[scene].classes, labels, pictures, "embedded")
