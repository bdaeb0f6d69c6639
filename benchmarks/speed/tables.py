"""The tables of the report, from the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.speed.table import MIB, Table, ratio_to
from benchmarks.speed.text_tables import text_tables

Figure = Mapping[str, Any]
Row = Mapping[str, Figure]
"""What stands in one line, by contender: `floor`, `hooks`, `fused`, `full`."""

ALL = ("floor", "hooks", "fused", "full")


def tables(figures: Sequence[Figure]) -> list[Table]:
    """The tables that have a line."""
    made = [*_timed("train", "Training step", ALL, figures), *_timed("infer", "Inference", ALL[:3], figures)]
    made += [*_remembered(figures), _swept(figures), _cached(figures), *text_tables(figures)]
    return [table for table in made if len(table.lines) > 1]


def _timed(what: str, title: str, kinds: Sequence[str], figures: Sequence[Figure]) -> list[Table]:
    """Milliseconds, and ratios: to the floor, and of the fused path to the plain one."""
    does = {
        "train": "Forward, cross-entropy, backward, SGD step; the floor is the frozen backbone without prompts.",
        "infer": "One forward pass, prompts folded where that is offered; the floor is the unprompted backbone.",
    }
    pairs = [(kind, "floor") for kind in kinds[1:]] + [("fused", "hooks")]
    times = {kind: _cell(kind, lambda figure: f"{1e3 * figure['median']:,.1f}") for kind in kinds}
    ratios = {f"{kind} / {base}": _cell(kind, ratio_to(base)) for kind, base in pairs}
    spread = "Ratios of the medians; in brackets the quartiles of the ratios round by round."
    return [
        Table(f"{title}: milliseconds", f"{does[what]} Medians over rounds.", _lines(what, figures, times)),
        Table(f"{title}: ratios", spread, _lines(what, figures, ratios)),
    ]


def _remembered(figures: Sequence[Figure]) -> list[Table]:
    peaks = {kind: _cell(kind, lambda f: f"{f['peak'] / MIB:,.0f} ({f['above'] / MIB:,.0f})") for kind in ALL}
    saved = {kind: _cell(kind, lambda figure: f"{figure['saved'] / MIB:,.1f}") for kind in ALL}
    peaks_are = "Of one step with AdamW, alone in a process; in brackets, what of it is above the resting process."
    saved_is = "What autograd keeps between forward and backward, parameters and buffers left out."
    return [
        Table("Peak memory: MiB", peaks_are, _lines("memory", figures, peaks)),
        Table("Saved for backward: MiB", saved_is, _lines("memory", figures, saved)),
    ]


def _lines(what: str, figures: Sequence[Figure], columns: Mapping[str, Callable[[Row], str]]) -> list[list[str]]:
    """One line per backbone and prompt length; contenders without a length stand in every line of their backbone."""
    own = [figure for figure in figures if figure["what"] == what]
    lines = [["model", "batch", "p", *columns]]
    for model, length in dict.fromkeys((figure["model"], figure["length"]) for figure in own if figure["length"]):
        here = [figure for figure in own if figure["model"] == model and figure["length"] in (length, None)]
        row = {figure["kind"]: figure for figure in here}
        lines.append([model, str(here[0]["batch"]), str(length), *(cell(row) for cell in columns.values())])
    return lines


def _cell(kind: str, shown: Callable[[Figure], str]) -> Callable[[Row], str]:
    """The cell of one contender in any line, a dash where it did not take part."""
    return lambda row: shown(row[kind]) if kind in row else "–"


def _swept(figures: Sequence[Figure]) -> Table:
    lines = [["model", "images", "points × epochs", "feature pass", "all points", "both", "re-run", "re-run / both"]]
    for figure in (figure for figure in figures if figure["what"] == "sweep"):
        grid = f"{figure['points']} × {figure['epochs']}"
        seconds = [f"{figure[name]:,.2f}" for name in ("pass", "together", "sweep")]
        again = [f"{figure['rerun']:,.0f}", f"{figure['ratio']:,.0f}"]
        lines.append([figure["model"], str(figure["images"]), grid, *seconds, *again])
    note = "Re-run: the backbone again in every epoch of every point, extrapolated from one such epoch, not measured."
    return Table("A sweep of the linear probe: seconds", note, lines)


def _cached(figures: Sequence[Figure]) -> Table:
    lines = [["model", "first epoch", "later epochs", "first / later", "uncached epochs", "outside of epochs"]]
    for figure in (figure for figure in figures if figure["what"] == "cache"):
        names = ("first", "later", "ratio", "uncached", "outside")
        lines.append([figure["model"], *(f"{figure[name]:,.2f}" for name in names)])
    note = "No augmentation; the first epoch computes once per image what is frozen. Of the other epochs, medians."
    return Table("Prompts in the last blocks: seconds", note, lines)
