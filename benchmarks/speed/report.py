"""`results.json`, and the tables, the chart and the page that are made from it alone."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.speed.chart import chart
from benchmarks.speed.execute import Part
from benchmarks.speed.figures import figures
from benchmarks.speed.machine import in_words
from benchmarks.speed.settings import BACKBONES, TEXT_KINDS, TOWERS
from benchmarks.speed.table import Table, markdown
from benchmarks.speed.tables import tables
from vpt.errors import OptionError
from vpt.runs.record import read_json, write_json
from vpt.training.files import write_atomically

RESULTS, MARKDOWN, PAGE, CHART = "results.json", "results.md", "index.html", "speed.png"
TITLE = "What prompts cost"


def write_results(folder: Path, parts: Sequence[Part], settings: Mapping[str, Any], command: str) -> None:
    """Write `results.json`: every raw row, and the figures that follow from them."""
    text = {part["case"]["backbone"] for part in parts if part["case"]["what"] in TEXT_KINDS}
    images = {part["case"]["backbone"] for part in parts if part["case"]["what"] not in TEXT_KINDS}
    write_json(folder / RESULTS, {
        "command": command, "date": datetime.now(UTC).isoformat(timespec="seconds"), "settings": dict(settings),
        "backbones": {name: backbone.model for name, backbone in BACKBONES.items() if name in images},
        "towers": {name: tower.model for name, tower in TOWERS.items() if name in text},
        "machine": parts[-1]["machine"], "versions": parts[-1]["versions"],
        "figures": figures(parts), "parts": list(parts),
    })  # fmt: skip


def write_report(folder: Path) -> list[Table]:
    """Write `results.md`, `speed.png` and `index.html` from `results.json`; answers the tables.

    Raises `OptionError` where there is no `results.json`.
    """
    results = read_results(folder)
    made, picture, about = tables(results["figures"]), chart(results["figures"]), in_sentences(results)
    write_atomically(folder / MARKDOWN, document(made, about, picture is not None))
    write_atomically(folder / PAGE, page(made, about, picture))
    if picture is not None:
        write_atomically(folder / CHART, picture)
    return made


def read_results(folder: Path) -> dict[str, Any]:
    """What `results.json` holds. Raises `OptionError` where there is none."""
    results = read_json(folder / RESULTS)
    if results is None:
        raise OptionError(f"{folder} holds no {RESULTS}; accepted: the --out of an earlier command")
    return results


def in_sentences(results: Mapping[str, Any]) -> str:
    """What was measured, on what, and with which versions."""
    settings = results["settings"]
    how = f"{settings['device']}, {settings['precision']}, {'compiled' if settings['compile'] else 'eager'}"
    measured = {"deep prompts in every block": results["backbones"], "text tower": results.get("towers", {})}
    named = {what: ", ".join(f"{name}: {model}" for name, model in of.items()) for what, of in measured.items() if of}
    what = f"Random weights; {'; '.join(f'{what} ({models})' for what, models in named.items())}"
    return f"{what}; {how}. {circumstances(results)}"


def circumstances(results: Mapping[str, Any]) -> str:
    """The machine, how busy it was, versions, date and command."""
    versions, where = results["versions"], in_words(results["machine"])
    packages = ", ".join(f"{name} {versions[name]}" for name in ("vpt", "torch", "timm", "python"))
    loads = [part["load"] for part in results["parts"] if part.get("load") is not None]
    busy = f"Load average as measurements began: {min(loads):.1f} to {max(loads):.1f}. " if loads else ""
    return f"{where}. {busy}{packages}. {results['date']}: {results['command']}"


def document(made: Sequence[Table], about: str, pictured: bool, title: str = TITLE) -> str:
    """The report as Markdown."""
    parts = [f"# {title}", about, *([f"![{title}]({CHART})"] if pictured else [])]
    parts += [f"## {table.title}\n\n{table.note}\n\n{markdown(table.lines)}".rstrip() for table in made]
    return "\n\n".join(parts) + "\n"


def page(made: Sequence[Table], about: str, picture: bytes | None, title: str = TITLE) -> str:
    """The report as one self-contained HTML page."""
    image = ""
    if picture is not None:
        image = f'<img alt="{title}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>vpt: {title.lower()}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}}
div{{overflow-x:auto}}table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}
td,th{{padding:.3rem .9rem;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}</style>
<h1>{title}</h1>
<p>{html.escape(about)}</p>
<p>{image}</p>
{"".join(map(_section, made))}</html>
"""


def _section(table: Table) -> str:
    heading, *body = [[html.escape(cell) for cell in line] for line in table.lines]
    top = "".join(f"<th>{cell}</th>" for cell in heading)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body)
    title, note = html.escape(table.title), html.escape(table.note)
    return f"<h2>{title}</h2>\n<p>{note}</p>\n<div><table><tr>{top}</tr>{rows}</table></div>\n"
