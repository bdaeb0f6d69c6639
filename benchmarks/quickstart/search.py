"""`python -m benchmarks.quickstart.search`: the learning rates of `settings.yaml`, chosen on validation images."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from benchmarks.quickstart import plan as plans
from benchmarks.quickstart.execute import processes
from vpt.runs.config import RunConfig
from vpt.runs.prepare import prepare
from vpt.runs.search import search

RATES = {
    "linear": [1e-2, 3e-2],
    "full": [3e-4, 1e-3],
    "shallow": [1e-2, 3e-2],
    "deep": [1e-2, 3e-2],
}


def choose(config: RunConfig) -> str:
    """One line: task, method, and the validation accuracy of each rate."""
    rates = RATES[config.method.name]
    config = replace(config, search=replace(config.search, lr=rates))
    assert config.out is not None
    found = search(config, prepare(config, quiet=True), config.out, quiet=True)
    tried = {f"{trial['lr']:g}": trial["accuracy"] for trial in found["trials"]}
    return json.dumps({"task": config.data.name, "method": config.method.name, "lr": found["lr"], "val": tried})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart-search"))
    parser.add_argument("--tasks", nargs="+", default=list(plans.settings()["tasks"]))
    args = parser.parse_args()
    configs = plans.plan(args.out, args.tasks, list(RATES), [0])
    with processes(os.cpu_count()) as pool:
        for line in pool.map(choose, configs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
