"""From shapes to pixels: filled outlines with smooth edges on a shaded background, 64 x 64 RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vpt.data.decode import Pixels
from vpt.data.embedded.outlines import OUTLINES, placed

SIZE = 64
_FINER = 4  # drawn at four times the size and averaged: smooth edges
_CONTRAST = 110.0  # least distance in RGB between a shape and its background

Colour = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One outline in a picture: position and radius in pixels, angle in radians clockwise from upright."""

    outline: str
    x: float
    y: float
    radius: float
    angle: float


def render(shapes: Sequence[Shape], rng: np.random.Generator) -> Pixels:
    """`uint8 [64, 64, 3]`; colours and shading of the background are drawn from `rng`."""
    background = rng.uniform(20, 235, 3)
    canvas = background + _shading(rng)[:, :, None]
    for shape in shapes:
        cover = _coverage(shape)[:, :, None]
        canvas = canvas * (1 - cover) + _contrasting(background, rng) * cover
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _coverage(shape: Shape) -> NDArray[np.float64]:
    """The share of each pixel that the shape covers, `[64, 64]` in 0 .. 1."""
    corners = placed(OUTLINES[shape.outline], (shape.x, shape.y), shape.radius, shape.angle) * _FINER - 0.5
    mask = Image.new("L", (SIZE * _FINER, SIZE * _FINER))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return np.asarray(mask.reduce(_FINER), dtype=np.float64) / 255


def _shading(rng: np.random.Generator) -> NDArray[np.float64]:
    """A slope of brightness in a random direction, `[64, 64]` within ±25."""
    direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 18)
    axis = np.linspace(-1, 1, SIZE)
    slope: NDArray[np.float64] = strength * (np.cos(direction) * axis[None, :] + np.sin(direction) * axis[:, None])
    return slope


def _contrasting(background: Colour, rng: np.random.Generator) -> Colour:
    while True:
        colour: Colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - background) >= _CONTRAST:
            return colour
