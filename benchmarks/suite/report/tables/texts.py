"""How numbers are written."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.suite.report.statistics import Difference, Spread

MIB = 2**20


def percent(value: float) -> str:
    """One decimal, never "-0.0"."""
    return f"{round(value, 1) + 0.0:.1f}"


def deviation(found: Spread) -> str:
    """`± 0.4`; nothing for a single value."""
    return "" if found.std is None else f"± {percent(found.std)}"


def signed(value: float) -> str:
    """`+1.2`, `−0.3`, `0.0`: with a true minus sign."""
    shown = percent(abs(value))
    return shown if shown == "0.0" else f"{'+' if value > 0 else '−'}{shown}"


def interval(found: Difference) -> str:
    """`[−0.4, +1.2]`; nothing for a single pair."""
    return "" if found.low is None or found.high is None else f"[{signed(found.low)}, {signed(found.high)}]"


def duration(seconds: float) -> str:
    """`8.2 s`, `3.4 min`, `2.5 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"


def memory(count: float) -> str:
    """MiB, or GiB from 1024 MiB on."""
    mib = count / MIB
    return f"{mib / 1024:,.2f} GiB" if mib >= 1024 else f"{mib:,.0f} MiB"


def listed(names: Iterable[object], limit: int = 6) -> str:
    """`a, b and 3 more`."""
    every = [str(name) for name in names]
    shown = ", ".join(every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"


def plural(count: int, noun: str) -> str:
    """`1 task`, `19 tasks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
