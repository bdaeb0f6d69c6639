"""`python -m benchmarks.fewshot plan | run | report`: prompt learning for CLIP from a few images of every class.

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
    step.add_argument("--preset", default="paper", help="paper, cpu or mini")
    step.add_argument("--tasks", **SEVERAL, help="names, or all")
    step.add_argument("--methods", **SEVERAL, help="rows of the preset, or any METHOD:option=value,...")
    step.add_argument("--stages", **SEVERAL, help="shots, base-to-new, transfer; by default those of the preset")
    step.add_argument("--shots", **SEVERAL, type=int, help="images per class, of stage shots")
    step.add_argument("--from", dest="sources", **SEVERAL, help="tasks that are learned on in stage transfer")
    step.add_argument("--to", dest="targets", **SEVERAL, help="tasks that it is measured on")
    step.add_argument("--seeds", **SEVERAL, type=int)
    step.add_argument("--backbone", help="embedded-clip, or an open_clip model: open_clip/NAME")
    step.add_argument("--checkpoint", type=Path, help="its weights, from a file")
    step.add_argument("--data", type=Path, help="where the images lie")
    step.add_argument("--source", help="coop (the 11 datasets), or any source of `vpt data` whose classes have names")
    step.add_argument("--set", **SEVERAL, metavar="NAME=VALUE", help="any: epochs=50 recipes.coop.lr=[1e-3]")


def _asked(args: argparse.Namespace) -> Plan:
    """The plan that the command line asks for, on data and backbone that it names."""
    from benchmarks.fewshot.planning import Asked, make_plan

    named = {
        "backbone.name": args.backbone, "backbone.checkpoint": whole_path(args.checkpoint),
        "data.root": whole_path(args.data), "data.source": args.source or ("coop" if args.data else None),
    }  # fmt: skip
    overrides = [*shorthands(named), *args.set]
    what = (args.tasks, args.methods, args.stages, args.shots, args.sources, args.targets, args.seeds)
    return make_plan(Asked(args.preset, *what, overrides=overrides))


def _bench(plan: Plan, folder: Folder) -> MakeBench:
    from benchmarks.fewshot.bench import FewShotBench
    from benchmarks.fewshot.tasks import load

    return partial(FewShotBench, plan.settings, load, folder.cache, folder.work)


def _report(folder: Path) -> Report:
    from benchmarks.fewshot import report

    return report.write(folder)


def _estimate(plan: Plan, trials: list[Trial], workers: int) -> Estimate:
    from benchmarks.fewshot.cost import estimate

    return estimate(plan, trials, workers)


SUITE = Entry("fewshot", __doc__ or "", _add_what, _asked, _bench, _report, _estimate)


if __name__ == "__main__":
    main()
