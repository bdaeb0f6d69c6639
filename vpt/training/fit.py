"""The training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vpt.data.loader import mix
from vpt.training.batches import Labelled, Shard, epoch_batches, load_batches
from vpt.training.config import FitConfig
from vpt.training.devices import accelerator_for, forget_peak, peak_memory, seed_process
from vpt.training.evaluate import score
from vpt.training.frozen_inputs import Store, affordable_part, store_in
from vpt.training.learner import Learner
from vpt.training.log import Logger
from vpt.training.loggers import build_loggers
from vpt.training.modes import checkpointing, set_training
from vpt.training.preflight import check
from vpt.training.resume import Progress
from vpt.training.schedule import learning_rate
from vpt.training.trained import identity

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class FitResult:
    """What a finished run tells: one row per epoch, epochs in all, seconds of training in all (resumed parts too).

    peak_memory: bytes, see `vpt.training.devices.peak_memory`; of the last part of a resumed run.
    """

    history: list[dict[str, Any]]
    epochs: int
    seconds: float
    peak_memory: int | None = None


def fit(
    model: nn.Module,
    train: Labelled,
    val: Labelled | None = None,
    config: FitConfig | None = None,
    out: Path | str | None = None,
    resume: bool = True,
    quiet: bool = False,
    cache: Path | str | None = None,
) -> FitResult:
    """Train the learned part of `model` in place and leave it in evaluation mode.

    model: what `vpt.tune` answers, or any module from images `[B, 3, H, W]` to logits `[B, C]` (trained: what requires
        a gradient).
    out: folder of checkpoints, `metrics.jsonl` and TensorBoard logs; None writes nothing.
    resume: go on from the checkpoint in `out`, bit for bit as if never interrupted; False starts anew. Give the model
    as it was built: one with other starting values (an already trained one, too) is refused as another run's.
    quiet: no progress on the terminal.
    cache: folder that keeps, for later runs too, what the frozen part of a tuned model gives for unchanging images;
        None: a temporary one. It is bounded by `config.frozen_cache_gb`.

    The global random generators are seeded from (seed, epoch, process) at each epoch. Under torchrun every process
    calls `fit` alike. Raises `OptionError`, `DataError`, `TrainingError` before the first step, `NonFiniteLoss` at any.
    """
    config = config or FitConfig()
    config.validate()
    accelerator = accelerator_for(config.precision)
    model.to(accelerator.device)
    forget_peak(accelerator.device)
    facts = check(model, train, val, config)
    folder = None if out is None else Path(out)
    log = build_loggers(folder, config, quiet) if accelerator.is_main_process else Logger()
    net = affordable_part(model, train, val, config, log)
    fast: Any = torch.compile(net) if config.compile else net
    learner = Learner(model, config, facts, accelerator, fast)
    progress = Progress(learner, folder, log, {} if folder is None else identity(model, train, val, config))
    progress.restore(resume)

    if progress.epoch < config.epochs:
        with progress.kept_on_exit(), store_in(cache, config) as store, checkpointing(model, config):
            log.start(progress.run(train, val, facts.classes))
            run_epochs(progress, net, train, val, store)
            log.finish()
    model.eval()
    learner.optimizer.zero_grad()
    history = progress.history
    seconds = sum(row["seconds"] for row in history)
    return FitResult(history, len(history), seconds, peak_memory(accelerator.device))


def run_epochs(progress: Progress, net: nn.Module, train: Labelled, val: Labelled | None, store: Store) -> None:
    """The epochs that are left, through `net`, all of the model or a part; the first one's seconds hold its inputs'."""
    learner, log, started = progress.learner, progress.log, time.perf_counter()
    read = partial(store.as_read_by, net, learner.model)
    fed = read(train, learner.config, learner.accelerator, log)
    watched = None if val is None else read(val, learner.config, learner.accelerator, log)
    for epoch in range(progress.epoch, learner.config.epochs):
        row = train_epoch(learner, fed, epoch, log)
        if hasattr(learner.model, "epoch_ended"):
            learner.model.epoch_ended(epoch + 1, learner.config.epochs)
        if watched is not None:
            row |= validate(net, watched, learner.config, learner.accelerator)
        now = time.perf_counter()
        progress.advance({**row, "seconds": now - started})
        started = now


def train_epoch(learner: Learner, train: Labelled, epoch: int, log: Logger) -> dict[str, Any]:
    """One pass over the training data; answers the epoch's row of metrics."""
    config, accelerator = learner.config, learner.accelerator
    seed = mix(config.seed, epoch, accelerator.process_index)
    seed_process(seed)
    if hasattr(train, "set_epoch"):
        train.set_epoch(epoch)
    set_training(learner.model)
    batches = epoch_batches(len(train), config.batch_size, shuffle=True, seed=config.seed, epoch=epoch)
    shard = Shard(batches, accelerator.process_index, accelerator.num_processes)
    pinned = accelerator.device.type == "cuda"
    loader = load_batches(train, shard, seed=seed, workers=config.workers, pin_memory=pinned)
    loss = weight = correct = images = 0.0
    for position, (batch, count) in enumerate(zip(loader, shard.counts, strict=True)):
        step = epoch * len(shard) + position
        lr = learning_rate(step, len(shard), config)
        sums = learner.step(batch, count, lr, step, train)
        loss, weight = loss + sums.loss, weight + sums.weight
        correct, images = correct + sums.correct, images + sums.images
        mean = sums.loss / (sums.weight or 1.0)
        log.step({"epoch": epoch + 1, "step": step + 1, "loss": mean, "lr": lr, "grad_norm": sums.grad_norm})
    return {
        "epoch": epoch + 1,
        "step": (epoch + 1) * len(shard),
        "lr": lr,
        "train_loss": loss / (weight or 1.0),
        "train_accuracy": correct / images,
    }


def validate(model: nn.Module, val: Labelled, config: FitConfig, accelerator: Accelerator) -> dict[str, float]:
    """The row of validation metrics of the model as it is now."""
    result = score(model, val, batch_size=config.batch_size, workers=config.workers, accelerator=accelerator)
    return {
        "val_loss": result.loss,
        "val_accuracy": result.accuracy,
        "val_mean_class_accuracy": result.mean_class_accuracy,
        "val_macro_f1": result.macro_f1,
    }
