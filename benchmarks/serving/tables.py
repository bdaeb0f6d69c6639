"""The tables of the report, from the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.serving.clients import VERDICTS
from benchmarks.speed.table import MIB, Table, ratio_to

Figure = Mapping[str, Any]
Figures = Mapping[str, Sequence[Figure]]
SPREAD = "Ratios of the medians; in brackets the quartiles of the ratios round by round."
MIXTURES = {
    "backbone": "the backbone alone",
    "one": "all of one task",
    "each": "each of another task",
    "uneven": "each of another task, of uneven lengths",
    "halves": "each of another task, half shallow, half deep",
}
CHANGES = ("replaced", "added", "retired", "deleted", "put", "failed")
SERVERS = {"batched": "with batching", "single": "without (--max-batch 1)"}


def tables(found: Figures) -> list[Table]:
    """A table of each thing that was measured."""
    return [table for name, make in MADE.items() if name in found for table in make(found[name])]


def _mixing(figures: Sequence[Figure]) -> list[Table]:
    lines = [["images of one pass", "milliseconds", "images / s", "throughput / one task", "/ the backbone alone"]]
    for figure in sorted(figures, key=lambda figure: [*MIXTURES].index(figure["name"])):
        numbers = [f"{1e3 * figure['median']:,.0f}", f"{figure['rate']:,.1f}"]
        lines.append([MIXTURES[figure["name"]], *numbers, *(ratio_to(base)(figure) for base in ("one", "backbone"))])
    return [Table("A pass over many tasks", f"Medians over rounds. Above 1 is faster than the base. {SPREAD}", lines)]


def _adding(figures: Sequence[Figure]) -> list[Table]:
    lines = [["additions", "median", "99%", "most"]]
    lines += [[str(f["adds"]), *(f"{1e3 * f[p]:,.2f}" for p in ("p50", "p99", "p100"))] for f in figures]
    return [Table("Adding a task: milliseconds", "From a folder to a task that answers, its digests checked.", lines)]


def _memory(figures: Sequence[Figure]) -> list[Table]:
    lines = [["tasks", "resident", "tensors", "files", "resident / tensors"]]
    for figure in figures:
        each = [f"{figure[name] / 1024:,.0f}" for name in ("resident", "tensors", "files")]
        lines.append([str(figure["tasks"]), *each, f"{figure['ratio']:.2f}"])
    note = "By how much the process grows; the tensors in it (keys and values, or prompts, and head); the files."
    return [Table("Memory of a task: KiB", note, lines)]


def _swapping(figures: Sequence[Figure]) -> list[Table]:
    lines = [["after the same task", "after another", "another / the same"]]
    lines += [[f"{1e3 * f['same']:,.1f}", f"{1e3 * f['other']:,.1f}", ratio_to("same")(f)] for f in figures]
    return [Table("Changing the task: milliseconds of a batch", f"Medians. {SPREAD}", lines)]


def _equality(figures: Sequence[Figure]) -> list[Table]:
    lines = [["tasks", "largest", "median"]]
    lines += [[str(figure["tasks"]), *(f"{figure[name]:.1e}" for name in ("largest", "median"))] for figure in figures]
    note = "Float64: one pass, an image for each task, against each task loaded alone; relative to the largest logit."
    return [Table("Difference from each task alone", note, lines)]


def _server(figures: Sequence[Figure]) -> list[Table]:
    verdicts_are = (
        "Right: what the version that the reply names answers alone. Away: 404 or 409 of a task that comes and goes. "
        "Refused: any other status. Lost: no reply."
    )
    replies = [["server", "requests", *VERDICTS, "statuses"]]
    changes = [["server", *CHANGES]]
    for figure in figures:
        statuses = ", ".join(f"{number} × {status}" for status, number in sorted(figure["statuses"].items()))
        verdicts = [str(figure["verdicts"][verdict]) for verdict in VERDICTS]
        replies.append([SERVERS[figure["name"]], str(figure["requests"]), *verdicts, statuses])
        changes.append([SERVERS[figure["name"]], *(str(figure["changes"].get(change, 0)) for change in CHANGES)])
    made_by = (
        "Made while the requests ran: the first three in the library, the others by an administrator. "
        "Failed: refused, or without a reply."
    )
    return [
        Table("The server: replies", f"{figures[0]['clients']} clients at once. {verdicts_are}", replies),
        Table("The server: changes of tasks", made_by, changes),
        *_pace(figures),
    ]


def _pace(figures: Sequence[Figure]) -> list[Table]:
    speed = [["server", "requests / s", "/ without", "images a pass", "p50", "p90", "p99", "most"]]
    most = max(len(figure["memory"]["ends"]) for figure in figures)
    memory = [["server", *(f"block {number + 1}" for number in range(most))]]
    for figure in figures:
        name, latency = SERVERS[figure["name"]], figure["latency"]
        milliseconds = [f"{1e3 * latency[p]:,.0f}" if latency else "–" for p in ("p50", "p90", "p99", "p100")]
        speed.append(
            [name, f"{figure['rate']:,.1f}", ratio_to("single")(figure), f"{figure['rows']:.1f}", *milliseconds]
        )
        ends = [f"{end / MIB:,.0f}" for end in figure["memory"]["ends"]]
        memory.append([name, *ends, *["–"] * (most - len(ends))])
    speed_is = f"Latency of right replies in milliseconds; the clients run on the same machine. {SPREAD}"
    return [
        Table("The server: speed", speed_is, speed),
        Table("The server: resident memory, MiB", "At the end of each block of requests, by one process.", memory),
    ]


MADE: dict[str, Callable[[Sequence[Figure]], list[Table]]] = {
    "mixing": _mixing,
    "adding": _adding,
    "memory": _memory,
    "swapping": _swapping,
    "equality": _equality,
    "server": _server,
}
