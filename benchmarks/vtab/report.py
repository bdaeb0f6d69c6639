"""The report of a VTAB-1K benchmark folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.suite.report import Report, Suite, show, write_report
from benchmarks.vtab.published import published
from vpt.runs.record import read_json

__all__ = ["show", "write"]


def write(folder: Path) -> Report:
    """Write `folder/report/` from the files in `folder`. Raises `OptionError` where they are no benchmark of ours."""
    plan = read_json(folder / "plan.json") or {}
    embedded = ((plan.get("settings") or {}).get("data") or {}).get("source") == "embedded"
    return write_report(folder, Suite("VTAB-1K's protocol on embedded tasks" if embedded else "VTAB-1K", published()))
