"""`python -m benchmarks.vtab plan | run | report`: prompts, linear probe and full fine-tuning on VTAB-1K.

plan    what would be run, with counts and a cost estimate
run     what of it is missing or failed, then the report
report  tables, charts and page from the results that are there
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpt.errors import OptionError, VptError
from vpt.runs.console import facts, note

if TYPE_CHECKING:
    from benchmarks.suite.execute import Summary
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import Plan


def main(given: list[str] | None = None) -> None:
    """Run the command line and exit: 0 when all is done, 1 when something failed, 2 when it was asked wrongly."""
    args = parser().parse_args(given)
    try:
        sys.exit(args.do(args))
    except VptError as error:
        note(f"error: {error}")
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on where it was")
        sys.exit(130)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m benchmarks.vtab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = whole.add_subparsers(required=True, metavar="plan | run | report")
    for name, do, help in (("plan", plan, "lay out and count"), ("run", run, "do what is missing, then report")):
        step = steps.add_parser(name, help=help, description=help)
        step.set_defaults(do=do)
        _add_what(step)
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


def _add_what(step: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    step.add_argument("--out", type=Path, required=True, help="folder of plan, results and report")
    step.add_argument("--preset", default="paper", help="paper, fast, cpu or mini")
    step.add_argument("--ablation", help="length, depth, placement, init, sharing or pooling")
    step.add_argument("--tasks", **several, help="names, groups, or all")
    step.add_argument("--methods", **several, help="rows of the preset, or any METHOD:option=value,...")
    step.add_argument("--seeds", **several, type=int)
    step.add_argument("--backbone", help="a timm name, or embedded")
    step.add_argument("--checkpoint", type=Path, help="its weights, from a file")
    step.add_argument("--data", type=Path, help="where the images lie")
    step.add_argument("--source", help="folder, tfds, wds, torchvision, prepared or embedded")
    step.add_argument("--own-splits", action="store_true", help="accept other numbers of images than VTAB-1K's")
    step.add_argument("--set", **several, metavar="NAME=VALUE", help="any: epochs=50 recipes.full.lr=[1e-4]")


def _asked(args: argparse.Namespace) -> Plan:
    """The plan that the command line asks for, on data and backbone that it names."""
    from benchmarks.vtab.planning import Asked, make_plan

    named = {
        "backbone.name": args.backbone, "backbone.checkpoint": _whole(args.checkpoint), "data.root": _whole(args.data),
        "data.source": args.source or ("folder" if args.data else None), "data.own_splits": args.own_splits or None,
    }  # fmt: skip
    shorthands = [f"{n}={json.dumps(v if isinstance(v, bool) else str(v))}" for n, v in named.items() if v is not None]
    overrides = [*shorthands, *args.set]
    return make_plan(Asked(args.preset, args.ablation, args.tasks, args.methods, args.seeds, overrides))


def _whole(path: Path | None) -> Path | None:
    """A path that means the same to every worker."""
    return None if path is None else path.resolve()


def plan(args: argparse.Namespace) -> int:
    """Lay out the plan, say what it holds and takes, and write it down."""
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import claim

    asked, folder = _asked(args), Folder(args.out.resolve())
    _check(asked)
    _show(asked, folder, args)
    if not args.dry_run:
        with folder.locked():
            claim(folder, asked)
        note(f"written: {folder.plan}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Do what is missing of the plan, and report. 1 where trials failed."""
    from benchmarks.suite.bench import Bench
    from benchmarks.suite.execute import execute, tidy
    from benchmarks.suite.executors import open_executor
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import claim
    from benchmarks.suite.watch import watching
    from benchmarks.vtab.planning import selected
    from benchmarks.vtab.tasks import load

    asked, folder = _asked(args), Folder(args.out.resolve(), _whole(args.cache))
    _check(asked)
    if args.dry_run:
        _show(asked, folder, args)
        return 0
    with folder.locked():
        trials = selected(claim(folder, asked), asked)
        tidy(folder, trials)
        make = partial(Bench, asked.settings, load, folder.cache, folder.work)
        folder.note("run", command=sys.argv, process=os.getpid(), executor=args.executor)
        executor = open_executor(args.executor, make, args.workers, args.ray_address)
        summary = execute(folder, trials, executor, watching(args.quiet))
        _report(folder)
    _conclude(summary, folder)
    return 0 if summary.complete else 1


def report(args: argparse.Namespace) -> int:
    """Tables, charts and page from what is there."""
    from benchmarks.suite.folder import Folder

    _report(Folder(args.out))
    return 0


def _report(folder: Folder) -> None:
    from benchmarks.vtab import report as reports

    reports.show(reports.write(folder.root))


def _check(asked: Plan) -> None:
    """Build every variant once, so that a wrong backbone or option stops here and not in a thousand trials."""
    from benchmarks.suite.check import check

    check(asked)


def _show(asked: Plan, folder: Folder, args: argparse.Namespace) -> None:
    """Counts and estimate, on stdout."""
    from benchmarks.suite.cost import estimate, words
    from benchmarks.suite.executors.share import default_workers

    left = [trial for trial in asked.trials if not folder.is_finished(trial.id)]
    workers = 1 if args.executor == "inline" else args.workers or default_workers()
    cost = estimate(asked, left, workers)
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


if __name__ == "__main__":
    main()
