"""The command line that every suite has: `python -m benchmarks.NAME plan | run | report`.

plan    what would be run, with counts and a cost estimate
run     what of it is missing or failed, then the report
report  tables, charts and page from the results that are there
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpt.errors import OptionError, VptError
from vpt.runs.console import facts, note

if TYPE_CHECKING:
    from benchmarks.suite.cost import Estimate
    from benchmarks.suite.execute import Summary
    from benchmarks.suite.executors.executor import MakeBench
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import Plan
    from benchmarks.suite.report import Report
    from benchmarks.suite.trial import Trial

SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
"""Of an option that takes one or more values, and may be given again."""


@dataclass(frozen=True)
class Entry:
    """A suite, as the command line needs it. Each function imports what it needs, so that `--help` loads nothing.

    add_what: adds the options that say what is asked for; asked: makes the plan of them.
    bench: what a worker of a plan is made by. report: writes a folder's report.
    estimate: what trials of a plan take on so many workers.
    """

    name: str
    about: str
    add_what: Callable[[argparse.ArgumentParser], None]
    asked: Callable[[argparse.Namespace], Plan]
    bench: Callable[[Plan, Folder], MakeBench]
    report: Callable[[Path], Report]
    estimate: Callable[[Plan, list[Trial], int], Estimate]


def main(entry: Entry, given: list[str] | None = None) -> None:
    """Run the command line and exit: 0 when all is done, 1 when something failed, 2 when it was asked wrongly."""
    args = parser(entry).parse_args(given)
    try:
        sys.exit(args.do(entry, args))
    except VptError as error:
        note(f"error: {error}")
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on where it was")
        sys.exit(130)


def parser(entry: Entry) -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{entry.name}", description=entry.about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    steps = whole.add_subparsers(required=True, metavar="plan | run | report")
    for name, do, help in (("plan", plan, "lay out and count"), ("run", run, "do what is missing, then report")):
        step = steps.add_parser(name, help=help, description=help)
        step.set_defaults(do=do)
        step.add_argument("--out", type=Path, required=True, help="folder of plan, results and report")
        entry.add_what(step)
        step.add_argument("--dry-run", action="store_true", help="counts and cost estimate; nothing is written")
        step.add_argument("--workers", type=int, help="by default one per GPU, or one per core")
        step.add_argument("--executor", choices=("inline", "processes", "ray"), default="processes")
        if name == "run":
            step.add_argument("--ray-address", help="of a running Ray cluster; by default one is started here")
            step.add_argument("--cache", type=Path, help="folder of prepared images; by default OUT/cache")
            step.add_argument("--quiet", action="store_true", help="no progress")
    step = steps.add_parser("report", help="tables, charts and page from the results that are there")
    step.set_defaults(do=report)
    step.add_argument("--out", type=Path, required=True, help="the folder of a run")
    return whole


def whole_path(path: Path | None) -> Path | None:
    """A path that means the same to every worker."""
    return None if path is None else path.resolve()


def shorthands(named: Mapping[str, object]) -> list[str]:
    """Options of the command line that stand for settings, as `--set` would give them; None: not given."""
    given = {name: value for name, value in named.items() if value is not None}
    return [f"{name}={json.dumps(value if isinstance(value, bool) else str(value))}" for name, value in given.items()]


def plan(entry: Entry, args: argparse.Namespace) -> int:
    """Lay out the plan, say what it holds and takes, and write it down."""
    from benchmarks.suite.check import check
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import claim

    asked, folder = entry.asked(args), Folder(args.out.resolve())
    check(asked)
    _show(entry, asked, folder, args)
    if not args.dry_run:
        with folder.locked():
            claim(folder, asked)
        note(f"written: {folder.plan}")
    return 0


def run(entry: Entry, args: argparse.Namespace) -> int:
    """Do what is missing of the plan, and report. 1 where trials failed."""
    from benchmarks.suite.check import check
    from benchmarks.suite.execute import execute, tidy
    from benchmarks.suite.executors import open_executor
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import claim, selected
    from benchmarks.suite.watch import watching

    asked, folder = entry.asked(args), Folder(args.out.resolve(), whole_path(args.cache))
    check(asked)
    if args.dry_run:
        _show(entry, asked, folder, args)
        return 0
    with folder.locked():
        trials = selected(claim(folder, asked), asked)
        tidy(folder, trials)
        folder.note("run", command=sys.argv, process=os.getpid(), executor=args.executor)
        executor = open_executor(args.executor, entry.bench(asked, folder), args.workers, args.ray_address)
        summary = execute(folder, trials, executor, watching(args.quiet))
        _report(entry, folder)
    _conclude(summary, folder)
    return 0 if summary.complete else 1


def report(entry: Entry, args: argparse.Namespace) -> int:
    """Tables, charts and page from what is there."""
    from benchmarks.suite.folder import Folder

    _report(entry, Folder(args.out))
    return 0


def _report(entry: Entry, folder: Folder) -> None:
    from benchmarks.suite.report import show

    show(entry.report(folder.root))


def _show(entry: Entry, asked: Plan, folder: Folder, args: argparse.Namespace) -> None:
    """Counts and estimate, on stdout."""
    from benchmarks.suite.cost import words
    from benchmarks.suite.executors.share import default_workers

    left = [trial for trial in asked.trials if not folder.is_finished(trial.id)]
    workers = 1 if args.executor == "inline" else args.workers or default_workers()
    cost = entry.estimate(asked, left, workers)
    counts: dict[str, Any] = {**asked.counts(), "finished already": len(asked.trials) - len(left)}
    rows = {name: f"{count:,}" for name, count in counts.items()}
    rows |= {f"{label}, one worker": words(seconds) for label, seconds in cost.by_variant.items()}
    rows[f"together, {workers} worker{'s' * (workers > 1)} like this one"] = words(cost.seconds)
    facts(f"{asked.suite}, preset {asked.preset}", rows)


def _conclude(summary: Summary, folder: Folder) -> None:
    """What a person should know of how it went, on stderr."""
    from benchmarks.suite.cost import words

    for reason, ids in summary.reasons().items():
        others = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        note(f"failed: {ids[0]}{others}: {reason}")
    if done := sum(summary.counts.values()):
        many, crew = "s" * (done > 1), f"{summary.workers} worker{'s' * (summary.workers > 1)}"
        rest = f"{summary.overhead:.1%} of whose time went to anything but trials"
        note(f"{done} trial{many} in {words(summary.wall)} with {crew}, {rest}")
    if summary.waiting:
        why = "for search trials that failed" if summary.failures else "to be done"
        note(f"{len(summary.waiting)} trials wait {why}")
    if not summary.complete:
        note(f"the same command tries what failed again; tracebacks: {folder.trials}")
