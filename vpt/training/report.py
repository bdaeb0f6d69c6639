"""A run on one page: `report.json` for programs, `report.png` for people."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpt.training.evaluate import Evaluation
from vpt.training.files import write_atomically

NAMED = 25
"""Up to so many classes the confusion matrix names them; up to half as many it writes the counts."""


def write_report(
    out: Path | str, evaluation: Evaluation, history: Sequence[Mapping[str, Any]] = (), title: str = "vpt"
) -> tuple[Path, Path]:
    """Write `report.json` and `report.png` into the folder `out` and answer with their paths.

    history: rows of `FitResult.history`, drawn as learning curves; may be empty.
    """
    folder = Path(out)
    content = {"title": title, **evaluation.to_dict(), "history": [dict(row) for row in history]}
    write_atomically(folder / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / "report.png", picture(evaluation, history, title))
    return folder / "report.json", folder / "report.png"


def picture(evaluation: Evaluation, history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """A PNG: curves of loss and accuracy where there is a history, and the confusion matrix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.5, 5.2) if history else (7.5, 6.5), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.25)) if history else [figure.subplots()]
    if history:
        _curves(axes[0], history, "loss", percent=False)
        _curves(axes[1], history, "accuracy", percent=True)
    _confusion(figure, axes[-1], evaluation)
    figures = (
        f"accuracy {evaluation.accuracy:.1%} · mean per class {evaluation.mean_class_accuracy:.1%} · "
        f"macro F1 {evaluation.macro_f1:.1%} · {len(evaluation.labels):,} images"
    )
    figure.suptitle(f"{title}\n{figures}", fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _curves(axis: Any, history: Sequence[Mapping[str, Any]], what: str, percent: bool) -> None:
    epochs = [row["epoch"] for row in history]
    for part, name, colour in (("train", "training", "#4878a8"), ("val", "validation", "#d1603d")):
        points = [(e, row[f"{part}_{what}"]) for e, row in zip(epochs, history, strict=True) if f"{part}_{what}" in row]
        if points:
            xs, ys = zip(*points, strict=True)
            factor = 100 if percent else 1
            marker = "o" if len(xs) <= 30 else None
            axis.plot(xs, [factor * y for y in ys], label=name, color=colour, marker=marker, markersize=3.5)
    axis.set(xlabel="epoch", ylabel=f"{what} (%)" if percent else what, title=what)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)


def _confusion(figure: Any, axis: Any, evaluation: Evaluation) -> None:
    """Shares per label, as rows; classes and counts are written where there is room."""
    counts = evaluation.confusion
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    axis.set(xlabel="predicted", ylabel="label", title="confusion")
    figure.colorbar(image, ax=axis, label="share of the label's images (%)", shrink=0.85)
    total = len(evaluation.classes)
    if total <= NAMED:
        names = [name if len(name) <= 18 else f"{name[:10]}…{name[-7:]}" for name in evaluation.classes]
        upright = max(map(len, names)) <= 3
        axis.set_xticks(range(total), names, rotation=0 if upright else 90, fontsize=8)
        axis.set_yticks(range(total), names, fontsize=8)
    if total <= NAMED // 2:
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 55 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
