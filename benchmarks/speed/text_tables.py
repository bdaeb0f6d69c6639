"""The tables of learned texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.speed.table import MIB, Table, ratio_to

Figure = Mapping[str, Any]
SPREAD = "Medians and their ratios; in brackets the quartiles of the ratios round by round."


def text_tables(figures: Sequence[Figure]) -> list[Table]:
    """A table of each kind, of those without a figure the heading alone."""
    step = "CoOp on image features that are there already: texts, logits, cross-entropy, backward, SGD step."
    parts = "In parts: steps over fewer classes one after another, where one over all would not fit in memory."
    once = "The features of all texts in inference mode, as evaluation computes them once for all images."
    return [
        Table("Learned texts, training step: seconds", f"{step} {parts} {SPREAD}", _timed("text-train", figures)),
        Table("Learned texts, inference: seconds", f"{once} {SPREAD}", _timed("text-infer", figures)),
        _chunks(figures),
        _remembered(figures),
    ]


def _timed(what: str, figures: Sequence[Figure]) -> list[list[str]]:
    lines = [["model", "batch", "classes", "plain", "fused", "plain / fused"]]
    found = [figure for figure in figures if figure["what"] == what]
    for plain, fused in zip(_of("plain", found), _of("fused", found), strict=True):
        parts = -(-plain["texts"] // plain["at_once"]) if what == "text-train" else 1
        said = f" in {parts} parts" if parts > 1 else ""
        seconds = [f"{plain['median']:,.2f}{said}", f"{fused['median']:,.2f}"]
        lines.append([*_about(plain), *seconds, ratio_to("fused")(plain)])
    return lines


def _chunks(figures: Sequence[Figure]) -> Table:
    lines = [["model", "batch", "classes", "most tokens", "seconds", "of vpt's own", "peak above resting, MiB"]]
    bytes_of = {_key(figure): figure["above"] for figure in figures if figure["what"] == "text-memory"}
    for figure in (figure for figure in figures if figure["what"] == "text-chunks"):
        tokens = "vpt's own" if figure["length"] is None else str(figure["length"])
        above = f"{bytes_of[_key(figure)] / MIB:,.0f}" if _key(figure) in bytes_of else "–"
        lines.append([*_about(figure), tokens, f"{figure['median']:,.2f}", ratio_to("fused")(figure), above])
    note = f"The training step of the fused path, by the most tokens that it computes in one go. {SPREAD}"
    return Table("Learned texts, chunks", note, lines)


def _remembered(figures: Sequence[Figure]) -> Table:
    lines = [["model", "batch", "classes", "plain", "fused", "fused / plain"]]
    found = [figure for figure in figures if figure["what"] == "text-memory" and figure["length"] is None]
    plain = {figure["texts"]: figure for figure in _of("plain", found)}
    for fused in _of("fused", found):
        told = _bytes(plain[fused["texts"]]) if fused["texts"] in plain else "–"
        ratio = f"{fused['ratios']['plain']['above']:.2f}" if "plain" in fused["ratios"] else "–"
        lines.append([*_about(fused), told, _bytes(fused), ratio])
    note = (
        "Of one training step with AdamW, alone in a process: what of the peak is above the resting process, the "
        "model's weights included; in brackets what autograd keeps for the backward pass. After ≈ the line through "
        "the plain numbers above, not measured."
    )
    return Table("Learned texts, peak memory: MiB", note, lines)


def _bytes(figure: Figure) -> str:
    about = "≈ " if figure.get("extrapolated") else ""
    return f"{about}{figure['above'] / MIB:,.0f} ({figure['saved'] / MIB:,.0f})"


def _of(kind: str, figures: Sequence[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure["kind"] == kind]


def _key(figure: Figure) -> tuple[Any, ...]:
    return figure["model"], figure["texts"], figure["kind"], figure["length"]


def _about(figure: Figure) -> list[str]:
    return [figure["model"], str(figure["batch"]), str(figure["texts"])]
