"""From raw rows to figures: medians, ratios of medians and how far they moved, percentiles, counts."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.speed.figures import ratio

Row = Mapping[str, Any]
Figure = dict[str, Any]
PERCENTILES = (50, 90, 99, 100)


def figures(parts: Iterable[Mapping[str, Any]]) -> dict[str, list[Figure]]:
    """The figures of each part that has rows, one for each line of its table."""
    return {part["part"]: MADE[part["part"]](part["rows"], part["case"]) for part in parts if part["rows"]}


def mixing(rows: Sequence[Row], case: Row) -> list[Figure]:
    """Of each contender: median seconds, images per second, and its throughput by that of one task and the backbone."""
    seconds = {name: [row[name] for row in rows] for name in rows[0]}
    return [
        {
            "name": name,
            "median": (median := statistics.median(own)),
            "rate": case["batch"] / median,
            "ratios": {base: ratio(seconds[base], own) for base in ("one", "backbone") if base != name},
        }
        for name, own in seconds.items()
    ]


def adding(rows: Sequence[Row], case: Row) -> list[Figure]:
    """Over all additions: median, 99th percentile and most, in seconds."""
    seconds = [one for row in rows for one in row["seconds"]]
    return [{"adds": len(seconds), **_percentiles(seconds)}]


def memory(rows: Sequence[Row], case: Row) -> list[Figure]:
    """Bytes per task, and by how much more a process grows than its tensors."""
    (row,) = rows
    each = {name: row[name] / row["tasks"] for name in ("resident", "tensors", "files")}
    return [{**each, "tasks": row["tasks"], "ratio": row["resident"] / row["tensors"]}]


def swapping(rows: Sequence[Row], case: Row) -> list[Figure]:
    """Median seconds after each, and the ratio of the two."""
    same, other = ([row[name] for row in rows] for name in ("same", "other"))
    found = {"same": statistics.median(same), "other": statistics.median(other)}
    return [{**found, "ratios": {"same": ratio(other, same)}}]


def equality(rows: Sequence[Row], case: Row) -> list[Figure]:
    """As they were found."""
    return [dict(row) for row in rows]


def server(rows: Sequence[Row], case: Row) -> list[Figure]:
    """Of each server, over all its blocks: counts, latency in seconds, requests per second, and bytes."""
    names = sorted(rows[0])
    blocks = {name: [row[name] for row in rows] for name in names}
    pace = {name: [block["seconds"] / block["requests"] for block in blocks[name]] for name in names}
    return [
        {
            "name": name,
            **{kind: dict(_sum(block[kind] for block in blocks[name])) for kind in ("verdicts", "statuses", "changes")},
            "requests": sum(block["requests"] for block in blocks[name]),
            "clients": case["clients"],
            "latency": _percentiles([one for block in blocks[name] for one in block["latencies"]]),
            "rate": 1 / statistics.median(pace[name]),
            "rows": statistics.median(block["rows"] for block in blocks[name]),
            "ratios": {} if name == "single" else {"single": ratio(pace["single"], pace[name])},
            "memory": _growth([b for b in blocks[name] if b["process"] == blocks[name][-1]["process"]]),
        }
        for name in names
    ]


def _growth(blocks: Sequence[Row]) -> Figure:
    """Bytes at the end of each block that one process answered."""
    return {"ends": [block["resident"][-1] for block in blocks if block["resident"]]}


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return found


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, ...; nothing of no values."""
    return {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES} if values else {}


MADE: dict[str, Callable[[Sequence[Row], Row], list[Figure]]] = {
    "mixing": mixing,
    "adding": adding,
    "memory": memory,
    "swapping": swapping,
    "equality": equality,
    "server": server,
}
