"""From raw rows to figures: medians, ratios of medians, and how far the ratio moved from round to round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.speed.settings import TEXT_KINDS

Part = Mapping[str, Any]
Figure = dict[str, Any]
BASES = ("floor", "full", "plain", "fused")
"""What contenders are set against beside the hooks at the same length: no prompts, full fine-tuning, and of learned
texts the plain path, and the fused one with vpt's own chunks.
"""
TIMED = ("train", "infer", *TEXT_KINDS[:3])


def figures(parts: Iterable[Part]) -> list[Figure]:
    """One figure per contender of a timed or memory part, and one per sweep or cache, all with `what` and `model`."""
    parts = [part for part in parts if part["rows"]]
    found = [figure for part in parts if part["case"]["what"] in TIMED for figure in timed(part)]
    found += remembered([part for part in parts if part["case"]["what"] == "memory"])
    found += remembered([part for part in parts if part["case"]["what"] == "text-memory"])
    found += [swept(part) for part in parts if part["case"]["what"] == "sweep"]
    return found + [cached(part) for part in parts if part["case"]["what"] == "cache"]


def timed(part: Part) -> list[Figure]:
    """Median seconds of each contender, and its ratios to every base that took part."""
    case, rows = part["case"], part["rows"]
    seconds = {_name(contender): [row[_name(contender)] for row in rows] for contender in case["contenders"]}
    found = []
    for contender in case["contenders"]:
        own = seconds[_name(contender)]
        ratios = {base: ratio(own, seconds[name]) for base, name in _bases(contender) if name in seconds}
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
    found += extrapolated(found)
    by_name = {(figure["model"], figure.get("texts"), _name(figure)): figure for figure in found}
    for figure in found:
        others = {base: by_name.get((figure["model"], figure.get("texts"), name)) for base, name in _bases(figure)}
        figure["ratios"] = {
            base: {key: figure[key] / other[key] for key in ("above", "saved")}
            for base, other in others.items()
            if other
        }
    return found


def extrapolated(found: Sequence[Figure]) -> list[Figure]:
    """Bytes of the plain path over other numbers of texts than it was given: on the line through those that it was."""
    plain = [figure for figure in found if figure["kind"] == "plain"]
    texts = [figure["texts"] for figure in plain]
    if len(texts) < 2:
        return []
    missing = sorted({figure["texts"] for figure in found} - {*texts})
    lines = {
        name: statistics.linear_regression(texts, [figure[name] for figure in plain]) for name in ("above", "saved")
    }
    same = {name: plain[0][name] for name in ("what", "model", "batch", "at_once", "kind", "length")}
    return [
        {**same, "texts": more, "extrapolated": True}
        | {name: round(line.intercept + line.slope * more) for name, line in lines.items()}
        for more in missing
    ]


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


def _bases(contender: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each base, and the contender that is it for this one."""
    return [("hooks", _name({**contender, "kind": "hooks"})), *((base, base) for base in BASES)]


def _about(case: Mapping[str, Any]) -> Figure:
    texts = {name: case["options"][name] for name in ("texts", "at_once") if case["what"] in TEXT_KINDS}
    return {"what": case["what"], "model": case["backbone"], "batch": case["batch"], **texts}
