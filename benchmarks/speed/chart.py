"""The picture: time against prompt length, one column per backbone, and memory below."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figure = Mapping[str, Any]
COLOURS = {"floor": "#555555", "hooks": "#4878a8", "fused": "#d1603d", "full": "#8a6fa8"}
MARKS = {"hooks": "o", "fused": "s", "full": "D"}
LABELS = {"floor": "frozen backbone", "hooks": "hooks", "fused": "fused", "full": "full fine-tuning"}
SAVED = "saved for backward"
MIB = 2**20


def chart(figures: Sequence[Figure]) -> bytes | None:
    """A PNG with a row for each of training, inference and memory that there is; None without any."""
    from matplotlib.figure import Figure as Canvas

    rows = {"train": _train, "infer": _infer, "memory": _memory}
    kinds = [what for what in rows if any(figure["what"] == what for figure in figures)]
    models = list(dict.fromkeys(figure["model"] for figure in figures if figure["what"] in kinds))
    if not kinds:
        return None
    canvas = Canvas(figsize=(max(4.2 * len(models), 6.5), 3.3 * len(kinds) + 0.6), layout="constrained")
    axes = canvas.subplots(len(kinds), len(models), squeeze=False)
    for line, what in zip(axes, kinds, strict=True):
        for axis, model in zip(line, models, strict=True):
            found = [figure for figure in figures if figure["what"] == what and figure["model"] == model]
            rows[what](axis, found)
            batch = f", batch {found[0]['batch']}" if found else ""
            axis.set_title(f"{model}{batch}", fontsize=11)
            axis.grid(alpha=0.3)
    pairs = [pair for axis in axes.flat for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    legend: dict[str, Any] = {label: handle for handle, label in pairs}
    labels = sorted(legend, key=[*LABELS.values(), SAVED].index)
    canvas.legend(
        [legend[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=len(labels) if len(models) > 1 else 3,
    )
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _train(axis: Any, figures: Sequence[Figure]) -> None:
    _against_length(axis, figures, "training step / floor")


def _infer(axis: Any, figures: Sequence[Figure]) -> None:
    _against_length(axis, figures, "inference / unprompted")


def _against_length(axis: Any, figures: Sequence[Figure], label: str) -> None:
    """Ratios to the floor, with the quartiles of the rounds as bars; without a length, a line right across."""
    axis.axhline(1, color=COLOURS["floor"], linestyle="--", label=LABELS["floor"])
    for kind in MARKS:
        found = [figure for figure in figures if figure["kind"] == kind and "floor" in figure["ratios"]]
        if not found:
            continue
        ratios = [figure["ratios"]["floor"] for figure in found]
        if found[0]["length"] is None:
            axis.axhline(ratios[0]["ratio"], color=COLOURS[kind], linestyle="-.", label=LABELS[kind])
            axis.axhspan(*ratios[0]["quartiles"], color=COLOURS[kind], alpha=0.15, linewidth=0)
            continue
        middle = [ratio["ratio"] for ratio in ratios]
        below = [max(0, ratio["ratio"] - ratio["quartiles"][0]) for ratio in ratios]
        above = [max(0, ratio["quartiles"][1] - ratio["ratio"]) for ratio in ratios]
        lengths = [figure["length"] for figure in found]
        axis.errorbar(
            lengths, middle, yerr=[below, above], color=COLOURS[kind], marker=MARKS[kind], capsize=3, label=LABELS[kind]
        )
        axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.set(xlabel="prompt tokens per block, p", ylabel=label)
    axis.set_ylim(bottom=0)


def _memory(axis: Any, figures: Sequence[Figure]) -> None:
    """Bars of the peak above the resting process, the floor first, full fine-tuning last; ticks for what is saved."""
    lengths = sorted({figure["length"] for figure in figures if figure["length"]})
    groups = ["floor", *lengths, "full"]
    where: Callable[[Figure], Any] = lambda figure: groups.index(figure["length"] or figure["kind"])  # noqa: E731
    for kind, shift in (("floor", 0.0), ("hooks", -0.2), ("fused", 0.2), ("full", 0.0)):
        found = [figure for figure in figures if figure["kind"] == kind]
        if found:
            places = [where(figure) + shift for figure in found]
            heights = [figure["above"] / MIB for figure in found]
            axis.bar(places, heights, 0.38, color=COLOURS[kind], label=LABELS[kind])
    places = [where(figure) + {"hooks": -0.2, "fused": 0.2}.get(figure["kind"], 0) for figure in figures]
    saved = [figure["saved"] / MIB for figure in figures]
    axis.plot(places, saved, "_", color="black", markersize=11, markeredgewidth=2, label=SAVED)
    axis.set_xticks(range(len(groups)), [f"p={group}" if isinstance(group, int) else group for group in groups])
    axis.set_ylabel("peak of a training step\nabove resting, MiB")
    axis.set_axisbelow(True)
