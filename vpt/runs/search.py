"""The learning-rate search: every trial is trained on train and judged on val; test is never looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vpt.errors import NonFiniteLoss, TrainingError
from vpt.runs.config import RunConfig
from vpt.runs.console import note
from vpt.runs.prepare import Prepared
from vpt.runs.record import SEARCH, is_main_process, read_json, write_json

TRIAL = "trial.json"


def search(config: RunConfig, prepared: Prepared, folder: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Try each `search.lr` with the first seed and choose the best accuracy on val; of equals, the first listed.

    Answers `{"lr", "chosen_on", "trials": [{"lr", "epochs", "accuracy", ...}]}`. A trial that is done is not repeated;
    one that came to NaN or infinity, in its loss or its logits, counts as failed. Raises `TrainingError` where all did.
    """
    trials = [_trial(config, prepared, lr, folder / SEARCH / f"lr-{lr:g}", quiet=quiet) for lr in config.search.lr]
    scored = [trial for trial in trials if trial["accuracy"] is not None]
    if not scored:
        raise TrainingError(f"every learning rate of the search failed: {trials[-1]['failed']}")
    best = max(scored, key=lambda trial: trial["accuracy"])
    if not quiet:
        note(f"learning rate {best['lr']:g} chosen on val ({best['accuracy']:.2%})")
    return {"lr": best["lr"], "chosen_on": "val", "seed": config.seeds[0], "trials": trials}


def _trial(config: RunConfig, prepared: Prepared, lr: float, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Train with one learning rate and measure val at the last epoch."""
    if (done := read_json(folder / TRIAL)) is not None:
        return done
    epochs = config.search.epochs or config.train.epochs
    facts: dict[str, Any] = {"lr": lr, "epochs": epochs, "accuracy": None}
    try:
        facts |= _measure(config, prepared, lr, epochs, folder, quiet=quiet)
    except NonFiniteLoss as error:
        facts["failed"] = str(error)
    if not quiet:
        note(f"search: lr {lr:g}: val " + ("failed" if facts["accuracy"] is None else f"{facts['accuracy']:.2%}"))
    write_json(folder / TRIAL, facts)
    forget_checkpoints(folder)
    return facts


def _measure(
    config: RunConfig, prepared: Prepared, lr: float, epochs: int, folder: Path, *, quiet: bool
) -> dict[str, Any]:
    from vpt.training import evaluate, fit

    seed, data = config.seeds[0], config.data
    settings = replace(config.train, lr=lr, epochs=epochs, seed=seed, tensorboard=False)
    model = prepared.model(config, seed)
    try:
        train = prepared.dataset(prepared.task.train, data, augment=data.augment, seed=seed)
        result = fit(model, train, None, settings, out=folder, quiet=quiet)
        val = prepared.dataset(prepared.task.val, data)
        try:
            judged = evaluate(model, val, batch_size=config.train.batch_size, workers=config.train.workers)
        except TrainingError as error:  # after `fit` for one reason: the last step left logits that are not finite
            return {"failed": str(error)}
    finally:
        model.detach()
    return {"accuracy": judged.accuracy, "train_loss": result.history[-1].get("train_loss"), "seconds": result.seconds}


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a training that is finished and recorded."""
    from vpt.training.checkpoint import Checkpoints

    if is_main_process():
        Checkpoints(folder).clear()
