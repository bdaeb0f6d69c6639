"""A whole sweep of the linear probe: one feature pass and all points at once, or the backbone again in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch

import vpt
from benchmarks.speed.measure import interleave, synchroniser
from benchmarks.speed.models import TrainingStep, Turn, autocast, backbone, batch
from benchmarks.speed.plan import Case
from vpt.training.features import features
from vpt.training.probe import Point, train_together


def probes(case: Case, done: int) -> Iterator[dict[str, float]]:
    """Seconds of `pass` (features of all images), `together` (every point on them) and `epoch` (of one point, re-run).

    All batches hold the same images: reading them is no part of this, and the arithmetic does not look at them. Nothing
    is compiled: features are caught by a hook that comes and goes.
    """
    case = replace(case, compile=False)
    rounds = range(done, case.rows)
    yield from interleave(_turns(case), rounds, seed=case.seed, synchronise=synchroniser(case.device))


def _turns(case: Case) -> dict[str, Turn]:
    sizes = case.options
    images, labels = batch(case.backbone, case.batch, case.device, sizes["classes"])
    probe = vpt.tune(backbone(case.backbone, case.device, sizes["classes"]), "linear")
    step, batches = TrainingStep(probe, images, labels, case), -(-sizes["images"] // case.batch)

    def feature_pass() -> None:
        with torch.inference_mode(), autocast(case):
            for _ in range(batches):
                features(probe, images)

    def epoch() -> None:
        for _ in range(batches):
            step()

    step()
    return {"pass": feature_pass, "together": _together(case), "epoch": epoch}


def _together(case: Case) -> Turn:
    """Train every point at once, under the paper's recipe, on random features."""
    sizes, drawn = case.options, torch.Generator().manual_seed(case.seed)
    width: Any = backbone(case.backbone, "cpu").num_features
    features = torch.randn(sizes["images"], width, generator=drawn).to(case.device)
    labels = torch.randint(sizes["classes"], (sizes["images"],), generator=drawn)
    points = [Point(lr, decay) for lr, decay in product(sizes["lr"], sizes["weight_decay"])]
    config = vpt.FitConfig(epochs=sizes["epochs"], batch_size=case.batch, optimizer="sgd", scale_lr=True)
    return lambda: train_together(features, labels, points, config, sizes["classes"])
