"""How charts look: colours, marks, and SVG that is the same every time and follows the page's light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.report.results import Results

INK, FAINT, PAPER = "#24292f", "#8c959f", "#fefefe"
"""Text and axes; grid and zero lines; background. The page swaps them for its own."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800", "#767676")
"""Okabe and Ito's palette, told apart by colour-blind eyes too; its yellow darkened and its black greyed for both
backgrounds."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 10, "svg.fonttype": "none", "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": FAINT, "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 10, "axes.titleweight": "bold", "grid.color": FAINT, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "legend.frameon": False, "errorbar.capsize": 2.5,
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """name: of its file; title and caption: for people; svg: a file on its own."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline(self) -> str:
        """The SVG as a part of an HTML page: ids of its own, colours by the page."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawing, count=1, flags=re.DOTALL)
        drawing = re.sub(r'((?:\bid="|xlink:href="#|url\(#))', rf"\1{self.name}-", drawing)
        for colour, own in ((INK, "var(--ink)"), (FAINT, "var(--faint)"), (PAPER, "none")):
            drawing = drawing.replace(colour, own)
        width = re.search(r'width="([\d.]+)pt"', drawing)
        style = f' style="width:{float(width[1]) * 4 / 3:.0f}px"' if width else ""
        drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
        return drawing.replace("<svg ", f'<svg role="img" aria-labelledby="{self.name}-title"{style} ', 1)


@contextmanager
def styled(name: str) -> Iterator[None]:
    """The house style, and ids that depend on the chart's name alone."""
    import matplotlib

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        yield


def chart(name: str, title: str, caption: str, size: tuple[float, float], draw: Callable[[Any], None]) -> Chart:
    """Have `draw` fill a figure of `size` inches."""
    from matplotlib.figure import Figure

    with styled(name), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the text stays text: whoever looks at it has the fonts
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Chart(name, title, caption, buffer.getvalue())


def colour_of(results: Results) -> dict[str, str]:
    """A colour per variant, the same in every chart."""
    return {row.label: COLOURS[index % len(COLOURS)] for index, row in enumerate(results.rows)}


def mark_of(results: Results) -> dict[str, str]:
    """A mark per variant, the same in every chart; past the last colour, colours and marks pair up anew."""
    return {row.label: MARKS[(index + index // len(COLOURS)) % len(MARKS)] for index, row in enumerate(results.rows)}


def legend(figure: Any, axes: Sequence[Any], columns: int = 6) -> None:
    """One legend below the figure for all of its axes."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=min(columns, len(found)))


def short(count: float, _: Any = None) -> str:
    """`950`, `23k`, `1.5M`: for an axis of counts."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"
