"""A sweep over linear probes of one model: each image once, all points trained together, each judged on val."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from vpt.methods import Tuned
from vpt.training.batches import Labelled
from vpt.training.config import FitConfig
from vpt.training.devices import accelerator_for
from vpt.training.evaluate import rates
from vpt.training.frozen_inputs import affordable_part, store_in
from vpt.training.log import Logger
from vpt.training.needed import Heads
from vpt.training.preflight import check
from vpt.training.probe.stack import Point, Start
from vpt.training.probe.together import Probes, train_together, usable

if TYPE_CHECKING:
    from accelerate import Accelerator

JUDGED = 256
"""Images judged at a time."""


@dataclass(frozen=True)
class Trial:
    """What became of one point: rates on val in [0, 1] (see `Evaluation`), or why it failed.

    train_loss: of the last epoch; losses: of each. seconds: its share of the time that training all of them took.
    """

    accuracy: float | None
    train_loss: float | None
    seconds: float
    failed: str | None
    mean_class_accuracy: float | None = None
    macro_f1: float | None = None
    losses: tuple[float, ...] = ()


def sweep(
    model: nn.Module,
    train: Labelled,
    val: Labelled,
    points: Sequence[Point],
    config: FitConfig,
    cache: Path | str | None = None,
    starts: Mapping[int, Start] | None = None,
) -> list[Trial] | None:
    """Train the head of `model` once per point on `train`, as `fit` would, and measure each on `val`.

    Every point starts from the head as it is, or from `starts` by its seed; the head itself stays as it is. None where
    points must be trained alone: more learns than one linear head, images change between epochs, what the head reads
    may not be kept, the precision is not "fp32", several processes share the work, or the backbone gives NaN or
    infinity (`fit` names the images).
    cache: as for `fit`.
    """
    config.validate()
    accelerator = accelerator_for(config.precision)
    if config.precision != "fp32" or accelerator.num_processes > 1:
        return None
    model.to(accelerator.device)
    part = affordable_part(model, train, val, config, Logger())
    head = _only_linear(part)
    if head is None or not (isinstance(part, Heads) and isinstance(model, Tuned)):
        return None
    facts = check(model, train, val, config)
    (fed, learned), (held_out, known) = (_read(part, model, data, config, accelerator, cache) for data in (train, val))
    if fed.shape[1:] != head.weight.shape[1:] or not (usable(fed).all() and usable(held_out).all()):
        return None
    begun = time.perf_counter()
    begin = starts or {point.seed: start_of(head) for point in points}
    probes = train_together(fed, learned, points, config, facts.num_classes, begin)
    share = (time.perf_counter() - begun) / len(points)
    return _judge(probes, held_out, known, share)


def start_of(head: nn.Linear) -> Start:
    """A copy of the head, as a start of others like it."""
    return head.weight.detach().clone(), head.bias.detach().clone()


def _only_linear(part: nn.Module) -> nn.Linear | None:
    """The head of a model with a single one that is linear and nothing more."""
    heads = list(part.heads.values()) if isinstance(part, Heads) else []
    if len(heads) == 1 and type(heads[0]) is nn.Linear and heads[0].bias is not None:
        return heads[0]
    return None


def _read(
    part: Heads, model: Tuned, dataset: Labelled, config: FitConfig, accelerator: Accelerator, cache: Path | str | None
) -> tuple[Tensor, Tensor]:
    """What the only head reads of every image, `[n, D]`, and the labels `[n]`, on the accelerator's device."""
    with store_in(cache, config) as store:
        found = store.inputs(part, model, dataset, config, accelerator, Logger())
        inputs, labels = torch.from_numpy(np.array(found.rows))[:, 0], torch.tensor(found.images.labels)
        return inputs.to(accelerator.device), labels.to(accelerator.device)


def _judge(probes: Probes, inputs: Tensor, labels: Tensor, seconds: float) -> list[Trial]:
    """The trials of `probes`, by their logits for `inputs` `[n, D]` of `labels` `[n]`."""
    broken = torch.zeros(len(probes.failures), dtype=torch.long, device=inputs.device)
    found = []
    for x in inputs.split(JUDGED):
        logits = probes.logits(x)
        found.append(logits.argmax(2).cpu())
        broken += (~logits.isfinite().all(2)).sum(1)
    predictions, truth = torch.cat(found, 1).numpy(), labels.cpu().numpy()
    trials = []
    for s, failure in enumerate(probes.failures):
        losses = tuple(probes.losses[s].tolist())
        if failure is None and broken[s]:
            failure = f"the model gives NaN or infinite logits for {int(broken[s])} images"
        if failure is not None:
            trials.append(Trial(None, None, seconds, failure))
        else:
            measured = rates(truth, predictions[s])
            trials.append(Trial(**measured, train_loss=losses[-1], seconds=seconds, failed=None, losses=losses))
    return trials
