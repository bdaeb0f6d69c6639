"""What a plan will take, before it runs: passes over images, times what one step of each method takes here and now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.suite.models import attached, random_images
from benchmarks.suite.plan import Plan
from benchmarks.suite.settings import TOGETHER, Settings
from benchmarks.suite.trial import SEARCH, Trial
from vpt.methods import Tuned
from vpt.runs.config import BackboneConfig
from vpt.runs.prepare import prepare_backbone
from vpt.training.devices import accelerator_for

TRAIN, VAL, TEST = 800, 200, 2000
"""Sizes of the sets that are not known before the data is read."""

PROBE = 8  # images in a timed step on a CPU; on a GPU, as many as in training
ROUNDS = 3


@dataclass(frozen=True)
class Pace:
    """Seconds per image: of a training step, and of a measurement."""

    step: float
    measure: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of computing per variant, on one worker, and of the whole plan on all of them."""

    by_variant: Mapping[str, float]
    workers: int

    @property
    def seconds(self) -> float:
        return sum(self.by_variant.values()) / self.workers


def estimate(plan: Plan, trials: Sequence[Trial], workers: int) -> Estimate:
    """What `trials` of `plan` will take if every step costs what it does now on this machine's device.

    Weights do not matter for time, so none are loaded; with several workers the cores are shared, as they will be.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        paces = _paces(plan.settings, trials)
    finally:
        torch.set_num_threads(threads)
    tests = {task.name: task.test or _size(plan.settings, "test", TEST) for task in plan.tasks}
    found = {variant.label: 0.0 for variant in plan.variants}
    seen: set[tuple[str, str, str]] = set()
    for trial in trials:
        pace = paces[_kind(trial)]
        if trial.method not in TOGETHER:
            found[trial.variant] += _alone(plan.settings, trial, tests[trial.task], pace)
        elif (once := (*trial.cell, trial.stage)) not in seen:  # one pass over the images serves all of them
            seen.add(once)
            found[trial.variant] += sum(_images(plan.settings, trial, tests[trial.task])) * pace.measure
    return Estimate({label: seconds for label, seconds in found.items() if seconds}, workers)


def _alone(settings: Settings, trial: Trial, test: int, pace: Pace) -> float:
    trained, judged = _images(settings, trial, test)
    return settings.epochs_of(trial.stage, trial.recipe) * trained * pace.step + judged * pace.measure


def _images(settings: Settings, trial: Trial, test: int) -> tuple[int, int]:
    """Images that a trial is trained on, and measured on."""
    train, val = _size(settings, "train", TRAIN), _size(settings, "val", VAL)
    return (train, val) if trial.stage == SEARCH else (train + val, test)


def _size(settings: Settings, part: str, default: int) -> int:
    return int(settings.data.options.get(part, default))


Kind = tuple[str, str]


def _kind(trial: Trial) -> Kind:
    return trial.method, repr(sorted(trial.options.items(), key=lambda item: item[0]))


def _paces(settings: Settings, trials: Sequence[Trial]) -> dict[Kind, Pace]:
    backbone = prepare_backbone(without_weights(settings))
    kinds = {_kind(trial): trial for trial in trials}
    return {kind: _pace(settings, backbone, trial) for kind, trial in kinds.items()}


def without_weights(settings: Settings) -> BackboneConfig:
    """The backbone of some settings, its weights random: they do not matter for time."""
    return replace(settings.backbone, pretrained=False, checkpoint=None)


def _pace(settings: Settings, backbone: nn.Module, trial: Trial, classes: int = 100) -> Pace:
    model = attached(backbone, settings, trial, classes)
    try:
        accelerator = accelerator_for(settings.precision)
        model.to(accelerator.device)
        count = settings.batch_size if accelerator.device.type == "cuda" else PROBE
        images = random_images(backbone, count, accelerator.device)
        with accelerator.autocast():
            step, measure = timed(lambda: _step(model, images)), timed(lambda: _measure(model, images))
        return Pace(step / count, measure / count)
    finally:
        model.detach()


def _step(model: Tuned, images: torch.Tensor) -> None:
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    F.cross_entropy(model.train()(images).float(), labels).backward()
    for parameter in model.trainable().values():
        parameter.grad = None


@torch.no_grad()
def _measure(model: Tuned, images: torch.Tensor) -> None:
    model.eval()(images)


def timed(do: Callable[[], None]) -> float:
    """Seconds, the median of a few rounds after a first one."""
    return statistics.median(list(_rounds(do))[1:])


def _rounds(do: Callable[[], None]) -> Iterator[float]:
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        do()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        yield time.perf_counter() - started


def words(seconds: float) -> str:
    """`about 40 s`, `about 12 min`, `about 3.5 h`, `about 2.1 days`."""
    for unit, size, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.{digits}f} {unit}"
    return f"about {seconds:.0f} s"
