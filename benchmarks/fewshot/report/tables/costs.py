"""What each method costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.fewshot.report.costs import median, training
from benchmarks.fewshot.report.tables.entries import row_of
from benchmarks.suite.plan import Variant
from benchmarks.suite.report.cost import spent
from benchmarks.suite.report.records import Record, Records
from benchmarks.suite.report.results import Results
from benchmarks.suite.report.table import NOTHING, Body, Column, Entry, Line, Table, to
from benchmarks.suite.report.tables.costs import machines
from benchmarks.suite.report.tables.texts import duration, memory

CAPTION = (
    "Trained parameters: median over trials. Training: seconds of one training, the median over tasks and seeds. Peak "
    "memory: the largest. All trials: training and measuring, failed ones included."
)


def costs(records: Records, parts: Mapping[str, Results], variants: Sequence[Variant]) -> Table:
    """Parameters, time and memory, one line per method. parts: results by the name of the time's column."""
    columns = [Column("method"), Column("number", "trained parameters"), Column("share of all", "trained parameters")]
    columns += [*(Column(name, "one training") for name in parts), Column("peak memory"), Column("all trials")]
    lines = [_line(records, parts, variant, index) for index, variant in enumerate(variants)]
    notes = ["Image features that a frozen image tower gives are computed once and kept: the first trial that needs "
             "them has their time.", *machines(records)]  # fmt: skip
    return Table("cost", "Cost", CAPTION, columns, [Body(lines)], notes)


def _line(records: Records, parts: Mapping[str, Results], variant: Variant, index: int) -> Line:
    mine = [trial.id for trial in records.trials if trial.variant == variant.label]
    own = [records.found[trial] for trial in mine if trial in records.found]
    trained, every = (median(_counts(own, name)) for name in ("trained", "all"))
    texts = [None if trained is None else f"{trained:,.0f}", f"{trained / every:.2%}" if trained and every else None]
    for results in parts.values():
        row = row_of(results, variant.label)
        seconds = training(records, row.cells) if row else None
        texts.append(None if seconds is None else duration(seconds))
    peak = max((peak for record in own if (peak := (record.get("cost") or {}).get("peak_memory"))), default=None)
    texts += [None if peak is None else memory(peak), duration(sum(map(spent, own))) if own else None]
    anchor = to(f"variant-{index}")
    entries = [NOTHING if text is None else Entry(text, href=anchor) for text in texts]
    return Line(Entry(variant.label, href=anchor), entries)


def _counts(own: Sequence[Record], name: str) -> list[float]:
    return [counts[name] for record in own if (counts := record.get("parameters")) and name in counts]
