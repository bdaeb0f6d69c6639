"""The quickstart's table, chart and page, made from the result files alone."""

from __future__ import annotations

import base64
import html
import io
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt.runs.record import RESULT, read_json


@dataclass(frozen=True)
class Row:
    """One method: trained parameters, and test accuracies (fractions) per task, one per seed."""

    method: str
    trained: int
    accuracies: dict[str, list[float]]

    def cell(self, task: str) -> str:
        """`91.2 ± 0.4`, in percent, the sample standard deviation over seeds; a dash where there is no run."""
        values = [100 * value for value in self.accuracies.get(task, [])]
        if not values:
            return "–"
        return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"


def read(folder: Path, methods: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Tasks and rows of all finished runs under `folder`, methods in the given order."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    trained: dict[str, int] = {}
    tasks: dict[str, None] = {}
    for path in sorted((folder / "runs").glob(f"*/*/*/{RESULT}")):
        result: Any = read_json(path)
        task, method = result["data"]["name"], result["method"]["name"]
        tasks.setdefault(task)
        found[method][task].append(result["metrics"]["accuracy"])
        trained[method] = max(trained.get(method, 0), result["parameters"]["trained"])
    return list(tasks), [Row(m, trained[m], dict(found[m])) for m in methods if m in found]


def cells(tasks: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    """The table with its heading row."""
    heading = ["method", "trained parameters", *(f"{task} (test, %)" for task in tasks)]
    return [heading, *([row.method, f"{row.trained:,}", *(row.cell(task) for task in tasks)] for row in rows)]


def markdown(table: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = [" | ".join(line) for line in [table[0], ["---"] * len(table[0]), *table[1:]]]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def chart(tasks: Sequence[str], rows: Sequence[Row]) -> bytes:
    """Accuracy against trained parameters, one panel per task, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(tasks), figsize=(4 * len(tasks), 3.4), squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        for row in rows:
            values = [100 * value for value in row.accuracies.get(task, [])]
            if not values:
                continue
            mean = statistics.fmean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0
            axis.errorbar(row.trained, mean, yerr=spread, fmt="o", capsize=3, markersize=7, label=row.method)
        axis.set(title=task, xscale="log", xlabel="trained parameters", ylabel="test accuracy, %")
        axis.margins(x=0.15, y=0.2)
        axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()


def page(table: Sequence[Sequence[str]], picture: bytes, about: str) -> str:
    """One self-contained HTML page."""
    heading, *body = [[html.escape(cell) for cell in line] for line in table]
    top = "".join(f"<th>{cell}</th>" for cell in heading)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body)
    image = base64.b64encode(picture).decode()
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>vpt quickstart</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{padding:.3rem .9rem;border-bottom:1px solid #ccc;text-align:right}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}</style>
<h1>Visual prompts, linear probe and full fine-tuning</h1>
<p>{html.escape(about)}</p>
<table><tr>{top}</tr>{rows}</table>
<p><img alt="accuracy against trained parameters" src="data:image/png;base64,{image}"></p></html>
"""


def write(folder: Path, methods: Sequence[str], about: str) -> list[list[str]]:
    """Write `table.md`, `chart.png` and `index.html` into `folder`; answers the table."""
    tasks, rows = read(folder, methods)
    table, picture = cells(tasks, rows), chart(tasks, rows)
    (folder / "table.md").write_text(markdown(table))
    (folder / "chart.png").write_bytes(picture)
    (folder / "index.html").write_text(page(table, picture, about))
    return table
