"""`python -m benchmarks.serving`: measure what is missing, then write results, tables and page."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.serving import report
from benchmarks.serving.execute import collect, execute
from benchmarks.serving.settings import KINDS, QUICK, Settings
from benchmarks.speed.report import PAGE
from benchmarks.speed.settings import BACKBONES
from benchmarks.speed.table import show
from vpt.errors import VptError

FIELDS = ("what", "backbone", "checkpoint", "rounds", "requests", "clients", "seed")


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/serving"))
    parser.add_argument("--report-only", type=Path, metavar="DIR", help="rebuild the report from DIR/results.json")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs, in seconds")
    parser.add_argument("--what", choices=list(KINDS))
    parser.add_argument("--backbone", help=f"with random weights {', '.join(BACKBONES)}; or any that vpt knows")
    parser.add_argument("--checkpoint", type=Path, help="a file with its weights")
    parser.add_argument("--rounds", type=int, help="of what is timed in turns")
    parser.add_argument("--requests", type=int, help="that each server has to answer")
    parser.add_argument("--clients", type=int, help="of the server, at once")
    parser.add_argument("--seed", type=int, help="of the order of turns, and of the requests")
    return parser.parse_args(given)


def settings(args: argparse.Namespace) -> Settings:
    """What the arguments ask for."""
    said = {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
    return replace(QUICK if args.quick else Settings(), **said)


def tell(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def main(given: list[str] | None = None) -> None:
    args = arguments(given)
    words = sys.argv[1:] if given is None else given
    folder = args.report_only or args.out
    try:
        if args.report_only is None:
            execute(settings(args), folder, tell)
            report.write_results(folder, collect(folder), shlex.join(["python", "-m", "benchmarks.serving", *words]))
        made = report.write_report(folder)
    except VptError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on where it was")
    show(made)
    print(f"Page: {folder / PAGE}")


if __name__ == "__main__":
    main()
