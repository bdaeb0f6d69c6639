"""Benchmark folders with constructed records, to make reports from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VTAB = {
    "natural": ("cifar", "caltech101", "dtd", "oxford_flowers102", "oxford_iiit_pet", "svhn", "sun397"),
    "specialized": ("patch_camelyon", "eurosat", "resisc45", "diabetic_retinopathy"),
    "structured": (
        *("clevr_count", "clevr_dist", "dmlab", "kitti", "dsprites_loc", "dsprites_ori"),
        *("smallnorb_azi", "smallnorb_ele"),
    ),
}
"""The 19 tasks by group."""

Accuracy = Callable[[str, str, int], float]
"""Test accuracy, a fraction, by task, variant and seed."""


def task(name: str, group: str = "natural", test: int | None = None, title: str | None = None) -> dict[str, Any]:
    return {"name": name, "title": title or name, "group": group, "classes": 10, "test": test}


def variant(label: str, method: str | None = None, axis: Any = None, **options: Any) -> dict[str, Any]:
    return {"label": label, "method": method or label, "options": options, "axis": axis}


def vtab_tasks() -> list[dict[str, Any]]:
    return [task(name, group) for group, names in VTAB.items() for name in names]


@dataclass
class Bench:
    """A plan, and where its files go. grid: points of the search of each cell; without any, nothing is searched."""

    root: Path
    tasks: Sequence[Mapping[str, Any]]
    variants: Sequence[Mapping[str, Any]]
    seeds: Sequence[int] = (42, 44, 82)
    grid: Sequence[tuple[float, float]] = ()
    chosen: tuple[float, float] = (0.5, 0.001)
    ablation: Mapping[str, Any] | None = None
    preset: str = "paper"
    settings: Mapping[str, Any] = field(
        default_factory=lambda: {
            "backbone": {"name": "vit_base_patch16_224.augreg_in21k", "checkpoint": None, "pretrained": True},
            "epochs": 100, "recipes": {"default": {"lr": [0.5], "optimizer": "sgd"}},
        }
    )  # fmt: skip

    def trials(self) -> list[dict[str, Any]]:
        return [t for task in self.tasks for v in self.variants for t in self._cell(task["name"], v)]

    def _cell(self, task: str, variant: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        shared = {"task": task, "variant": variant["label"], "method": variant["method"], "recipe": "default",
                  "options": variant["options"]}  # fmt: skip
        at = f"{task}.{variant['label']}"
        for lr, wd in self.grid:
            point = {"stage": "search", "lr": lr, "weight_decay": wd, "seed": self.seeds[0]}
            yield {"id": f"{at}.search.lr-{lr:g}-wd-{wd:g}", **shared, **point}
        own = (None, None) if self.grid else self.chosen
        for seed in self.seeds:
            point = {"stage": "final", "lr": own[0], "weight_decay": own[1], "seed": seed}
            yield {"id": f"{at}.final.seed-{seed}", **shared, **point}

    def plan(self) -> dict[str, Any]:
        return {
            "schema": 1, "suite": "vtab", "preset": self.preset, "ablation": self.ablation, "about": "A protocol.",
            "settings": self.settings, "tasks": self.tasks, "variants": self.variants, "trials": self.trials(),
        }  # fmt: skip

    def record(self, trial: Mapping[str, Any], accuracy: float | None, **more: Any) -> dict[str, Any]:
        search = trial["stage"] == "search"
        return {
            "schema": 1, "id": trial["id"], "trial": dict(trial), "status": "done", "reason": None, "traceback": None,
            "measured_on": "val" if search else "test",
            "metrics": None if accuracy is None else {"accuracy": accuracy},
            "chosen": dict(zip(("lr", "weight_decay"), self.chosen, strict=True), by=None),
            "history": [], "parameters": parameters(trial),
            "method": {"name": trial["method"], "path": "fused", "options": trial["options"]},
            "data": {"name": trial["task"], "route": "vtab-folder", "about": "image files",
                     "sizes": {"train": 800, "val": 200, "test": 10000},
                     "digests": dict.fromkeys(("train", "val", "test"), "0123456789abcdef"),
                     "splits": {}, "decoding": {}, "deviations": []},
            "preprocessing": {"size": 224, "resize": "bilinear"},
            "backbone": {"name": "vit_base_patch16_224.augreg_in21k", "checkpoint": None,
                         "fingerprint": {"digest": "f00d", "architecture": {"depth": 12}}},
            "train": {}, "versions": {"vpt": "0.1.0", "torch": "2.6"}, "device": "cpu", "precision": "fp32",
            "cost": {"seconds": 12.0, "seconds_per_epoch": [0.1, 0.2, 0.3], "peak_memory": 2**30, "together": 1,
                     "started": "2026-11-25T12:00:00+0000", "finished": "2026-11-25T12:10:00+0000", "host": "a"},
            **more,
        }  # fmt: skip

    def write_plan(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "plan.json").write_text(json.dumps(self.plan()))

    def write(self, record: Mapping[str, Any]) -> Path:
        path = self.root / "trials" / f"{record['id']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        return path

    def fill(self, accuracy: Accuracy, without: Iterable[str] = ()) -> Path:
        """Write the plan and the records of all trials but those named; a search point is worth its learning rate."""
        self.write_plan()
        left_out = set(without)
        for trial in self.trials():
            if trial["id"] in left_out:
                continue
            search = trial["stage"] == "search"
            worth = trial["lr"] / 1000 if search else accuracy(trial["task"], trial["variant"], trial["seed"])
            self.write(self.record(trial, worth))
        return self.root


def parameters(trial: Mapping[str, Any]) -> dict[str, int]:
    """Some numbers that differ between methods and lengths."""
    head = 7690
    prompts = {"full": 85_000_000, "bias": 100_000, "deep": 9216 * int(trial["options"].get("length", 10)),
               "shallow": 7680}.get(trial["method"], 0)  # fmt: skip
    return {"trained": head + prompts, "head": head, "prompts": prompts, "all": 85_800_000 + head}
