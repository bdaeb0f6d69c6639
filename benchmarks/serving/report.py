"""`results.json`, and the tables and the page that are made from it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.execute import Part
from benchmarks.serving.figures import figures
from benchmarks.serving.tables import tables
from benchmarks.speed.report import MARKDOWN, PAGE, RESULTS, circumstances, document, page, read_results
from benchmarks.speed.settings import BACKBONES
from benchmarks.speed.table import Table
from vpt.runs.record import write_json
from vpt.training.files import write_atomically

TITLE = "Many tasks on one backbone"


def write_results(folder: Path, parts: Sequence[Part], command: str) -> None:
    """Write `results.json`: every raw row, and the figures that follow from them."""
    write_json(folder / RESULTS, {
        "command": command, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": parts[-1]["machine"], "versions": parts[-1]["versions"],
        "figures": figures(parts), "parts": list(parts),
    })  # fmt: skip


def write_report(folder: Path) -> list[Table]:
    """Write `results.md` and `index.html` from `results.json`; answers the tables.

    Raises `OptionError` where there is no `results.json`.
    """
    results = read_results(folder)
    made, about = tables(results["figures"]), in_sentences(results)
    write_atomically(folder / MARKDOWN, document(made, about, pictured=False, title=TITLE))
    write_atomically(folder / PAGE, page(made, about, None, title=TITLE))
    return made


def in_sentences(results: Mapping[str, Any]) -> str:
    """What was measured, on what, and with which versions."""
    cases = {part["part"]: part["case"] for part in results["parts"]}
    alone = [case for name, case in cases.items() if name != "server"]
    what = [_predictor(alone[0])] if alone else []
    what += ["Server: the embedded backbone, 64 pixels, random tasks"] if "server" in cases else []
    return f"{'. '.join(what)}. {circumstances(results)}"


def _predictor(case: Mapping[str, Any]) -> str:
    random = case["backbone"] in BACKBONES
    name = f"{BACKBONES[case['backbone']].model}, random weights" if random else case["backbone"]
    return f"Predictor: {name}; p = {case['length']} in every block, heads of {case['classes']} classes, random"
