"""`python -m benchmarks.speed`: measure what is missing, then write results, tables, chart and page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.speed import report
from benchmarks.speed.execute import collect, execute
from benchmarks.speed.plan import plan
from benchmarks.speed.settings import BACKBONES, KINDS, PRECISIONS, QUICK, Settings
from benchmarks.speed.table import show
from vpt.errors import VptError


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    parser.add_argument("--report-only", type=Path, metavar="DIR", help="rebuild the report from DIR/results.json")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs, in seconds")
    parser.add_argument("--models", type=_names, help=f"of {','.join(BACKBONES)}")
    parser.add_argument("--lengths", type=_numbers, help="prompt tokens per block, e.g. 10,50")
    parser.add_argument("--what", type=_names, help=f"of {','.join(KINDS)}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--batch", type=int, help="images per step; each backbone's own by default")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, help="bf16 (autocast) by default on CUDA")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="by default on CUDA")
    parser.add_argument("--seed", type=int, help="of the order of turns")
    return parser.parse_args(given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def settings(args: argparse.Namespace) -> Settings:
    """What the arguments ask for; precision and compiling go by the device where nothing is said."""
    cuda = args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available())
    by_device = {"device": "cuda" if cuda else "cpu", "precision": "bf16" if cuda else "fp32", "compile": cuda}
    fields = ("models", "lengths", "what", "rounds", "batch", "precision", "compile", "seed")
    said = {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
    return replace(QUICK if args.quick else Settings(), **{**by_device, **said})


@contextmanager
def progress(rows: int) -> Iterator[Callable[[str], Any]]:
    """What is told of every row: a bar on a terminal, plain lines elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("measuring", total=rows)
        yield lambda text: bar.update(task, advance=1, description=text)


def measure(args: argparse.Namespace, command: str) -> None:
    """Make what is missing in `args.out`, and write `results.json`."""
    asked = settings(args)
    cases = plan(asked)
    with progress(sum(case.rows for case in cases)) as told:
        execute(cases, args.out, told)
    report.write_results(args.out, collect(args.out), asked.to_dict(), command)


def main(given: list[str] | None = None) -> None:
    args = arguments(given)
    words = sys.argv[1:] if given is None else given
    try:
        if args.report_only is None:
            measure(args, shlex.join(["python", "-m", "benchmarks.speed", *words]))
        folder = args.report_only or args.out
        made = report.write_report(folder)
    except VptError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on where it was")
    show(made)
    print(f"Page: {folder / report.PAGE}")


if __name__ == "__main__":
    main()
