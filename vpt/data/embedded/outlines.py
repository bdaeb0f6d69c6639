"""The shapes that are drawn: closed outlines `[K, 2]` in (x, y), y downwards, within the unit circle, pointing up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]

_TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)


def _fitted(points: Outline) -> Outline:
    """Centred on its bounding box and scaled to reach the unit circle."""
    points = points - (points.max(0) + points.min(0)) / 2
    scaled: Outline = points / np.linalg.norm(points, axis=1).max()
    return scaled


def _ellipse() -> Outline:
    return _fitted(np.stack([0.65 * np.cos(_TURN), np.sin(_TURN)], 1))


def _square() -> Outline:
    return _fitted(np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]))


def _heart() -> Outline:
    x = 16 * np.sin(_TURN) ** 3
    y = -(13 * np.cos(_TURN) - 5 * np.cos(2 * _TURN) - 2 * np.cos(3 * _TURN) - np.cos(4 * _TURN))
    return _fitted(np.stack([x, -y], 1))  # its tip points up


def _arrow() -> Outline:
    return _fitted(np.array([[0, -1], [0.75, 0], [0.28, 0], [0.28, 1], [-0.28, 1], [-0.28, 0], [-0.75, 0.0]]))


def _drop() -> Outline:
    return _fitted(np.stack([0.6 * np.sin(_TURN) * np.sin(_TURN / 2) ** 2, -np.cos(_TURN)], 1))


def _triangle() -> Outline:
    return _fitted(np.array([[0, -1.0], [0.6, 0.8], [-0.6, 0.8]]))


OUTLINES: dict[str, Outline] = {
    "ellipse": _ellipse(),
    "square": _square(),
    "heart": _heart(),
    "arrow": _arrow(),
    "drop": _drop(),
    "triangle": _triangle(),
}

DIRECTED = ("heart", "arrow", "drop", "triangle")
"""The outlines that differ from themselves under every turn."""


def placed(outline: Outline, centre: tuple[float, float], radius: float, angle: float) -> Outline:
    """The outline turned clockwise by `angle` (radians), scaled to `radius` and moved to `centre` (x, y)."""
    c, s = np.cos(angle), np.sin(angle)
    turned: Outline = outline @ np.array([[c, s], [-s, c]]) * radius + np.array(centre)
    return turned
