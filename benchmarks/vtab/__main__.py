"""`python -m benchmarks.vtab plan | run | report`: prompts, linear probe and full fine-tuning on VTAB-1K.

plan    what would be run, with counts and a cost estimate
run     what of it is missing or failed, then the report
report  tables, charts and page from the results that are there
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suite import command
from benchmarks.suite.command import SEVERAL, Entry, shorthands, whole_path

if TYPE_CHECKING:
    from benchmarks.suite.cost import Estimate
    from benchmarks.suite.executors.executor import MakeBench
    from benchmarks.suite.folder import Folder
    from benchmarks.suite.plan import Plan
    from benchmarks.suite.report import Report
    from benchmarks.suite.trial import Trial


def main(given: list[str] | None = None) -> None:
    """As `benchmarks.suite.command.main`."""
    command.main(SUITE, given)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return command.parser(SUITE)


def _add_what(step: argparse.ArgumentParser) -> None:
    step.add_argument("--preset", default="paper", help="paper, fast, cpu or mini")
    step.add_argument("--ablation", help="length, depth, placement, init, sharing or pooling")
    step.add_argument("--tasks", **SEVERAL, help="names, groups, or all")
    step.add_argument("--methods", **SEVERAL, help="rows of the preset, or any METHOD:option=value,...")
    step.add_argument("--seeds", **SEVERAL, type=int)
    step.add_argument("--backbone", help="a timm name, or embedded")
    step.add_argument("--checkpoint", type=Path, help="its weights, from a file")
    step.add_argument("--data", type=Path, help="where the images lie")
    step.add_argument("--source", help="folder, tfds, wds, torchvision, prepared or embedded")
    step.add_argument("--own-splits", action="store_true", help="accept other numbers of images than VTAB-1K's")
    step.add_argument("--set", **SEVERAL, metavar="NAME=VALUE", help="any: epochs=50 recipes.full.lr=[1e-4]")


def _asked(args: argparse.Namespace) -> Plan:
    """The plan that the command line asks for, on data and backbone that it names."""
    from benchmarks.vtab.planning import Asked, make_plan

    named = {
        "backbone.name": args.backbone, "backbone.checkpoint": whole_path(args.checkpoint),
        "data.root": whole_path(args.data), "data.source": args.source or ("folder" if args.data else None),
        "data.own_splits": args.own_splits or None,
    }  # fmt: skip
    overrides = [*shorthands(named), *args.set]
    return make_plan(Asked(args.preset, args.ablation, args.tasks, args.methods, args.seeds, overrides))


def _bench(plan: Plan, folder: Folder) -> MakeBench:
    from benchmarks.suite.bench import Bench
    from benchmarks.vtab.tasks import load

    return partial(Bench, plan.settings, load, folder.cache, folder.work)


def _report(folder: Path) -> Report:
    from benchmarks.vtab import report

    return report.write(folder)


def _estimate(plan: Plan, trials: list[Trial], workers: int) -> Estimate:
    from benchmarks.suite.cost import estimate

    return estimate(plan, trials, workers)


SUITE = Entry("vtab", __doc__ or "", _add_what, _asked, _bench, _report, _estimate)


if __name__ == "__main__":
    main()
