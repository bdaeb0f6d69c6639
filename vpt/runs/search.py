"""The search of learning rate and weight decay: each trial is trained on train and judged on val, never on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpt.errors import NonFiniteLoss, OptionError, TrainingError
from vpt.runs.config import RunConfig
from vpt.runs.console import note
from vpt.runs.prepare import Prepared, needs_images
from vpt.runs.record import SEARCH, is_main_process, read_json, write_json
from vpt.training.config import FitConfig
from vpt.training.probe import Point

if TYPE_CHECKING:
    from vpt.training import probe

TRIAL = "trial.json"


def search(config: RunConfig, prepared: Prepared, folder: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Try each `search.lr` with each `search.weight_decay` and choose the best accuracy on val; of equals, the first.

    Answers `{"lr", "weight_decay", "chosen_on", "seed", "trials": [{"lr", "weight_decay", "epochs", "accuracy"}]}`, of
    the run's first seed. A trial that is done is not repeated; one that came to NaN or infinity, in its loss or its
    logits, counts as failed. Raises `TrainingError` where all did.
    """
    config = replace(config, data=replace(config.data, fit_on="train"))  # methods that keep images must not keep val's
    where = {point: folder / SEARCH / _name(config, point) for point in grid(config)}
    done = {point: facts for point in where if (facts := read_json(where[point] / TRIAL)) is not None}
    measured = _together(config, prepared, [point for point in where if point not in done])
    trials = []
    for point, place in where.items():
        if point not in done:
            found = measured.get(point) or _alone(config, prepared, point, place, quiet=quiet)
            done[point] = _record(config, point, found, place, quiet=quiet)
        trials.append({"weight_decay": point.weight_decay, **done[point]})  # older records lack it
    scored = [trial for trial in trials if trial["accuracy"] is not None]
    if not scored:
        raise TrainingError(f"every learning rate of the search failed: {trials[-1]['failed']}")
    best = max(scored, key=lambda trial: trial["accuracy"])
    if not quiet:
        note(f"{_words(config, best)} chosen on val ({best['accuracy']:.2%})")
    chosen = {"lr": best["lr"], "weight_decay": best["weight_decay"]}
    return {**chosen, "chosen_on": "val", "seed": config.seeds[0], "trials": trials}


def grid(config: RunConfig) -> list[Point]:
    """What is tried, in this order."""
    decays = config.search.weight_decay or [config.train.weight_decay]
    return [Point(lr, decay, config.seeds[0]) for lr, decay in product(config.search.lr, decays)]


def _name(config: RunConfig, point: Point) -> str:
    """The folder of a trial; weight decays are told apart only where there are several."""
    several = len(config.search.weight_decay) > 1
    return f"lr-{point.lr:g}-wd-{point.weight_decay:g}" if several else f"lr-{point.lr:g}"


def _words(config: RunConfig, facts: dict[str, Any]) -> str:
    decay = f", weight decay {facts['weight_decay']:g}" if len(config.search.weight_decay) > 1 else ""
    return f"learning rate {facts['lr']:g}{decay}"


def _settings(config: RunConfig) -> FitConfig:
    """How a trial is trained, but for its point."""
    return replace(config.train, epochs=config.search.epochs or config.train.epochs, tensorboard=False)


def _together(config: RunConfig, prepared: Prepared, points: Sequence[Point]) -> dict[Point, dict[str, Any]]:
    """The trials of linear probes on unchanged images, all measured at once; of anything else, none."""
    from vpt.training import probe

    if not points or needs_images(config):  # prompts, and costly to start
        return {}
    seed, data, task = config.seeds[0], config.data, prepared.task
    model = prepared.model(config, seed)
    try:
        if not model.trainable():
            raise OptionError(f"search.lr: {config.search.lr} given; method {config.method.name!r} learns nothing")
        train = prepared.dataset(task.train, data, augment=data.augment, seed=seed)
        val = prepared.dataset(task.val, data)
        trials = probe.sweep(model, train, val, points, _settings(config), cache=data.cache)
    finally:
        model.detach()
    return {point: _facts(trial) for point, trial in zip(points, trials or (), strict=bool(trials))}


def _facts(trial: probe.Trial) -> dict[str, Any]:
    """What a trial's record holds of it, as of one that was trained alone."""
    return {name: getattr(trial, name) for name in ("accuracy", "train_loss", "seconds", "failed")}


def _alone(config: RunConfig, prepared: Prepared, point: Point, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Train with one point and measure val at the last epoch."""
    from vpt.training import evaluate, fit

    data, settings = config.data, point.settings(_settings(config))
    model = prepared.model(config, point.seed)
    try:
        train = prepared.dataset(prepared.task.train, data, augment=data.augment, seed=point.seed)
        result = fit(model, train, None, settings, out=folder, quiet=quiet, cache=data.cache)
        val = prepared.dataset(prepared.task.val, data)
        try:
            judged = evaluate(model, val, batch_size=settings.batch_size, workers=settings.workers)
        except TrainingError as error:  # after `fit` for one reason: the last step left logits that are not finite
            return {"failed": str(error)}
    except NonFiniteLoss as error:
        return {"failed": str(error)}
    finally:
        model.detach()
    return {"accuracy": judged.accuracy, "train_loss": result.history[-1].get("train_loss"), "seconds": result.seconds}


def _record(config: RunConfig, point: Point, found: dict[str, Any], folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Write down a trial that is done."""
    facts = {"lr": point.lr, "weight_decay": point.weight_decay, "epochs": _settings(config).epochs, "accuracy": None}
    facts |= {name: value for name, value in found.items() if value is not None}
    if not quiet:
        result = "failed" if facts["accuracy"] is None else f"{facts['accuracy']:.2%}"
        note(f"search: {_words(config, facts)}: val {result}")
    write_json(folder / TRIAL, facts)
    forget_checkpoints(folder)
    return facts


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a training that is finished and recorded."""
    from vpt.training.checkpoint import Checkpoints

    if is_main_process():
        Checkpoints(folder).clear()
