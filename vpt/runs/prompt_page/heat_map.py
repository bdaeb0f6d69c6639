"""Heat maps of class similarities, as SVG that takes ink and paper from the page, light or dark.

Low values let the paper through, so that one picture serves both.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

BLUE, ORANGE, OPAQUE = (59, 130, 246), (230, 120, 30), 0.65
"""Hues that ink of either scheme can be read on, and how much of them the strongest cell has."""

SIDE, LARGEST, SMALLEST = 480, 56, 2.5
"""Pixels of a map's side, and of its cells where there are few classes or many."""
WRITTEN, LINE, LETTER, CHARACTERS = 36, 13, 6.6, 18
"""Pixels that a cell with its value needs, and a name; the width of a letter; letters of a name before it is cut."""


@dataclass(frozen=True)
class HeatMap:
    """title: for people. svg: the drawing. low, high: what its palest and its strongest cell stand for. signed: whether
    two hues tell what lies below 0 and above.
    """

    title: str
    svg: str
    low: float
    high: float
    signed: bool = False


def similarity_map(title: str, values: Values, names: Sequence[str], low: float, high: float) -> HeatMap:
    """Cosines `[C, C]` from `low` to `high`; what lies beyond is drawn as these."""
    strength = ((values - low) / max(high - low, 1e-12)).clip(0, 1)
    colours = np.broadcast_to(BLUE, (*values.shape, 3))
    return HeatMap(title, _svg(title, colours, strength, _written(values, "{:.2f}"), names), low, high)


def difference_map(title: str, values: Values, names: Sequence[str]) -> HeatMap:
    """Differences `[C, C]`: blue below 0, orange above, as strong as the largest of them."""
    most = float(np.abs(values).max())
    colours = np.where(values[..., None] < 0, BLUE, ORANGE)
    svg = _svg(title, colours, np.abs(values) / max(most, 1e-12), _written(values, "{:+.2f}"), names)
    return HeatMap(title, svg, -most, most, signed=True)


def _written(values: Values, form: str) -> list[list[str]]:
    rounded = values.round(2) + 0.0  # no negative zeros
    return [[form.format(value).replace("-", "−") for value in row] for row in rounded]


def _svg(
    title: str, colours: npt.NDArray[np.int_], strength: Values, texts: list[list[str]], names: Sequence[str]
) -> str:
    cell = max(SMALLEST, min(LARGEST, SIDE / len(names)))
    labels = dict(_labels(names, cell))
    room = round(8 + LETTER * max(map(len, labels.values())))
    side = cell * len(names)
    whole = room + side + 7  # half a label stands out beyond the last cell
    root = ET.Element("svg", _numbers(viewBox=(0, 0, whole, whole), width=whole, height=whole))
    root.attrib |= {"role": "img", "aria-label": title}
    picture = {"href": _png(colours, strength), "preserveAspectRatio": "none", "class": "cells"}
    ET.SubElement(root, "image", {**_numbers(x=room, y=0, width=side, height=side), **picture})
    ET.SubElement(root, "rect", {**_numbers(x=room, y=0, width=side, height=side), "class": "frame"})
    for place, label in labels.items():
        middle = cell * (place + 0.5)
        _text(root, label, room - 5, middle, "end")
        _text(root, label, room + middle, side + 5, "end", turn=-90)
    if cell >= WRITTEN:
        for row, column in np.ndindex(strength.shape):
            _text(root, texts[row][column], room + cell * (column + 0.5), cell * (row + 0.5), "middle")
    return ET.tostring(root, encoding="unicode")


def _labels(names: Sequence[str], cell: float) -> Iterator[tuple[int, str]]:
    """Each class that there is a line of room for, and its name; with its number where others have none."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, len(names)) if step * cell >= LINE or step >= 500)
    for place in range(0 if step == 1 else step - 1, len(names), step):
        name = names[place] if len(names[place]) <= CHARACTERS else f"{names[place][: CHARACTERS - 1]}…"
        yield place, name if step == 1 else f"{name} {place + 1}"


def _text(parent: ET.Element, text: str, x: float, y: float, anchor: str, turn: int = 0) -> None:
    place = _numbers(x=x, y=y, transform=f"rotate({turn} {x:.6g} {y:.6g})") if turn else _numbers(x=x, y=y)
    ET.SubElement(parent, "text", {**place, "text-anchor": anchor, "dominant-baseline": "central"}).text = text


def _numbers(**attributes: float | tuple[float, ...] | str) -> dict[str, str]:
    def say(value: float | tuple[float, ...] | str) -> str:
        if isinstance(value, tuple):
            return " ".join(map(say, value))
        return value if isinstance(value, str) else f"{value:.6g}"

    return {name: say(value) for name, value in attributes.items()}


def _png(colours: npt.NDArray[np.int_], strength: Values) -> str:
    """One pixel per cell, as the URI of a PNG."""
    from PIL import Image

    alpha = (255 * OPAQUE * strength[..., None]).round()
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([colours, alpha], axis=-1).astype(np.uint8), "RGBA").save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
