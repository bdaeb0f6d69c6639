"""`python -m benchmarks.quickstart`: run what is missing, then print the table and write the page."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.quickstart import plan as plans
from benchmarks.quickstart import report
from benchmarks.quickstart.execute import execute_all
from vpt.errors import VptError


def arguments(given: list[str] | None) -> argparse.Namespace:
    chosen = plans.settings()
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--tasks", nargs="+", default=list(chosen["tasks"]))
    parser.add_argument("--methods", nargs="+", default=list(chosen["methods"]))
    parser.add_argument("--seeds", nargs="+", type=int, default=chosen["seeds"])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    args, started = arguments(given), time.time()
    try:
        configs = plans.plan(args.out, args.tasks, args.methods, args.seeds)
        execute_all(configs, args.workers)
    except VptError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on where it was")
    seeds = f"{len(args.seeds)} seeds" if len(args.seeds) > 1 else "one seed"
    about = f"Embedded backbone, embedded tasks, last epoch, mean ± standard deviation over {seeds}."
    heading, *rows = report.write(args.out, args.methods, about)
    table = Table(*heading, title="Visual prompts, linear probe and full fine-tuning")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    print(f"{about}\n{time.time() - started:.0f} s. Page: {args.out / 'index.html'}")


if __name__ == "__main__":
    main()
