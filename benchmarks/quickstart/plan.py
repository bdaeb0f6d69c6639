"""What the quickstart runs: tasks x methods x seeds, with learning rates that were chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vpt.errors import unknown
from vpt.runs.config import RunConfig
from vpt.runs.reading import load_config

SETTINGS = Path(__file__).with_name("settings.yaml")


def settings() -> dict[str, Any]:
    """The content of `settings.yaml`."""
    content: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    return content


def plan(out: Path, tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> list[RunConfig]:
    """One run per task, method and seed; the longest methods first, so that no core waits at the end."""
    chosen = settings()
    for kind, names, known in (("task", tasks, chosen["tasks"]), ("method", methods, chosen["methods"])):
        for name in names:
            if name not in known:
                raise unknown(kind, name, known)
    longest = sorted(methods, key=lambda name: name == "linear")
    return [_run(chosen, out, task, method, seed) for method in longest for task in tasks for seed in seeds]


def _run(chosen: dict[str, Any], out: Path, task: str, method: str, seed: int) -> RunConfig:
    own = chosen["methods"][method]
    fields = {
        "backbone.image_size": chosen["image_size"],
        "data.source": "embedded",
        "data.name": task,
        "data.fit_on": "trainval",
        "data.cache": out / "cache",
        "method.name": method,
        "train.epochs": chosen["epochs"],
        "train.batch_size": chosen["batch_size"],
        "train.lr": own["lr"][task],
        "train.tensorboard": "false",
        "seeds": f"[{seed}]",
        "out": out / "runs" / task / method / f"seed-{seed}",
    }
    fields |= {f"data.options.{name}": value for name, value in chosen["tasks"][task].items()}
    fields |= {f"method.options.{name}": value for name, value in own.get("options", {}).items()}
    return load_config(None, [f"{name}={value}" for name, value in fields.items()])
