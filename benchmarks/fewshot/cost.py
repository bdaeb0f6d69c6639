"""What a plan will take, before it runs: times what a step of each method takes here and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.fewshot.stage import BASE_TO_NEW, Stage
from benchmarks.suite.cost import PROBE, TEST, Estimate, timed, without_weights
from benchmarks.suite.models import attached, random_images
from benchmarks.suite.plan import Plan
from benchmarks.suite.settings import Settings
from benchmarks.suite.trial import Trial
from vpt.runs.prepare import prepare_backbone
from vpt.training.devices import accelerator_for

NAMED = 16
"""Classes in a timed step; a step that only compares takes as much longer as a task has more."""

CLASSES = 100
"""Of a task that does not tell before its data is read."""

FEATURES = "image features"
"""What is computed once for all methods that leave the image tower as it is."""


@dataclass(frozen=True)
class Pace:
    """Seconds: of a step, and to measure an image. sees: whether the image tower takes part in every step."""

    step: float
    measure: float
    sees: bool


def estimate(plan: Plan, trials: Sequence[Trial], workers: int) -> Estimate:
    """What `trials` of `plan` will take if every step costs what it does now on this machine's device.

    With several workers the cores are shared, as they will be.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        encode, paces = _paces(plan.settings, trials)
    finally:
        torch.set_num_threads(threads)
    tasks = {task.name: task for task in plan.tasks}
    found, seen = {variant.label: 0.0 for variant in plan.variants}, set[tuple[str, ...]]()
    features = 0.0
    for trial in trials:
        pace, stage, task = paces[_kind(trial)], Stage.of(trial.stage), tasks[trial.task]
        classes = (task.classes or CLASSES) / (2 if stage.kind == BASE_TO_NEW else 1)
        shown, judged = stage.shots * classes, task.test or int(plan.settings.data.options.get("test", TEST))
        batch = min(_batch(plan.settings, trial), max(shown, 1))
        steps = plan.settings.epochs_of(trial.stage, trial.recipe) * shown / batch
        found[trial.variant] += steps * pace.step * (1 if pace.sees else classes / NAMED) + judged * pace.measure
        for once, images in (((trial.task, trial.stage, str(trial.seed)), shown), ((trial.task, stage.kind), judged)):
            features += 0 if pace.sees or once in seen else images * encode
            seen |= set() if pace.sees else {once}
    return Estimate({name: s for name, s in {**found, FEATURES: features}.items() if s}, workers)


def _batch(settings: Settings, trial: Trial) -> int:
    return settings.recipes[trial.recipe].batch_size or settings.batch_size


def _kind(trial: Trial) -> tuple[str, str]:
    return trial.variant, trial.recipe


def _paces(settings: Settings, trials: Sequence[Trial]) -> tuple[float, Mapping[tuple[str, str], Pace]]:
    """Seconds that the image tower alone takes for an image, and the pace of each method."""
    backbone: Any = prepare_backbone(without_weights(settings))
    device = accelerator_for(settings.precision).device
    backbone.to(device)
    images = random_images(backbone, PROBE, device)
    with torch.no_grad():
        encode = timed(lambda: backbone.encode_image(images)) / PROBE
    kinds = {_kind(trial): trial for trial in trials}
    return encode, {kind: _pace(settings, backbone, trial, images) for kind, trial in kinds.items()}


def _pace(settings: Settings, backbone: nn.Module, trial: Trial, images: Tensor) -> Pace:
    model, accelerator = attached(backbone, settings, trial, NAMED), accelerator_for(settings.precision)
    try:
        model.to(accelerator.device)
        with accelerator.autocast():
            features = model.train().image_features(images)
            sees, batch = features.requires_grad, _batch(settings, trial)
            rows = features.detach().repeat(-(-batch // PROBE), 1)[:batch]
            step = _step(model, lambda: model(images) if sees else model.compare(rows))
            took = timed(step) * (batch / PROBE if sees else 1) if model.trainable() else 0.0
            measure = timed(lambda: _measure(model, images)) / PROBE if sees else 0.0
        return Pace(took, measure, sees)
    finally:
        model.detach()


def _step(model: Any, logits: Any) -> Any:
    def step() -> None:
        found = logits().float()
        loss = F.cross_entropy(found, torch.zeros(len(found), dtype=torch.long, device=found.device))
        extra = model.regulariser()
        (loss if extra is None else loss + extra).backward()
        for parameter in model.trainable().values():
            parameter.grad = None

    return step


@torch.no_grad()
def _measure(model: Any, images: Tensor) -> None:
    model.eval()(images)
