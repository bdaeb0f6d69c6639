"""From raw rows to figures: medians, ratios of medians, and how far the ratio moved from round to round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Part = Mapping[str, Any]
Figure = dict[str, Any]
BASES = ("hooks", "floor", "full")
"""What contenders are set against: the plain path at the same length, no prompts, and full fine-tuning."""


def figures(parts: Iterable[Part]) -> list[Figure]:
    """One figure per contender of a timed or memory part, and one per sweep or cache, all with `what` and `model`."""
    parts = [part for part in parts if part["rows"]]
    found = [figure for part in parts if part["case"]["what"] in ("train", "infer") for figure in timed(part)]
    found += remembered([part for part in parts if part["case"]["what"] == "memory"])
    found += [swept(part) for part in parts if part["case"]["what"] == "sweep"]
    return found + [cached(part) for part in parts if part["case"]["what"] == "cache"]


def timed(part: Part) -> list[Figure]:
    """Median seconds of each contender, and its ratios to every base that took part."""
    case, rows = part["case"], part["rows"]
    seconds = {_name(contender): [row[_name(contender)] for row in rows] for contender in case["contenders"]}
    found = []
    for contender in case["contenders"]:
        own = seconds[_name(contender)]
        bases = {base: _name({**contender, "kind": base}) for base in BASES[:1]} | {base: base for base in BASES[1:]}
        ratios = {base: ratio(own, seconds[name]) for base, name in bases.items() if name in seconds}
        figure = {"median": statistics.median(own), "rounds": len(rows), "ratios": ratios}
        found.append({**_about(case), **contender, **figure})
    return found


def ratio(own: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Ratio of the medians, and the quartiles of the ratios within each round."""
    rounds = [a / b for a, b in zip(own, other, strict=True)]
    return {"ratio": statistics.median(own) / statistics.median(other), "quartiles": quartiles(rounds)}


def quartiles(values: Sequence[float]) -> list[float]:
    """First and third quartile; of one value, that value twice."""
    if len(values) == 1:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]


def remembered(parts: Sequence[Part]) -> list[Figure]:
    """Bytes of each contender: `peak`, `above` the resting process, `saved` for backward; ratios of the latter two."""
    found: list[Figure] = []
    for part in parts:
        (contender,), row = part["case"]["contenders"], part["rows"][0]
        found.append({**_about(part["case"]), **contender, **row, "above": row["peak"] - row["resting"]})
    by_name = {(figure["model"], _name(figure)): figure for figure in found}
    for figure in found:
        bases = {"hooks": _name({**figure, "kind": "hooks"}), "floor": "floor", "full": "full"}
        others = {base: by_name.get((figure["model"], name)) for base, name in bases.items()}
        figure["ratios"] = {
            base: {key: figure[key] / other[key] for key in ("above", "saved")}
            for base, other in others.items()
            if other
        }
    return found


def swept(part: Part) -> Figure:
    """Median seconds, of the whole sweep too: both ways. The way that re-runs the backbone is extrapolated."""
    case, rows = part["case"], part["rows"]
    sizes = case["options"]
    points = len(sizes["lr"]) * len(sizes["weight_decay"])
    median = {name: statistics.median(row[name] for row in rows) for name in ("pass", "together", "epoch")}
    whole, again = median["pass"] + median["together"], median["epoch"] * sizes["epochs"] * points
    return {
        **_about(case), **median, "points": points, "epochs": sizes["epochs"], "images": sizes["images"],
        "sweep": whole, "passes": whole / median["pass"],
        "rerun": again, "rerun_is": f"extrapolated: one epoch x {sizes['epochs']} x {points}", "ratio": again / whole,
    }  # fmt: skip


def cached(part: Part) -> Figure:
    """Seconds of the first epoch, medians of later and of uncached ones, and what `vpt.fit` did outside of epochs."""
    row = part["rows"][0]
    first, *later = row["epochs"]
    found = {"first": first, "later": statistics.median(later), "uncached": statistics.median(row["uncached"])}
    outside = row["total"] - sum(row["epochs"])
    return {**_about(part["case"]), **found, "outside": outside, "ratio": first / found["later"]}


def _name(contender: Mapping[str, Any]) -> str:
    return str(contender["kind"]) if contender["length"] is None else f"{contender['kind']}-{contender['length']}"


def _about(case: Mapping[str, Any]) -> Figure:
    return {"what": case["what"], "model": case["backbone"], "batch": case["batch"]}
