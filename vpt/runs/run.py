"""One run: search a learning rate if asked, train each seed, measure on test once, leave the files of record."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vpt.artifacts import save
from vpt.artifacts.find import ARTIFACT
from vpt.artifacts.save import fingerprint_of, jsonable
from vpt.methods import Tuned, TunedClip
from vpt.runs.config import RunConfig, SearchConfig
from vpt.runs.console import note
from vpt.runs.prepare import Prepared, prepare
from vpt.runs.record import RESULT, claim, is_main_process, read_json, write_json
from vpt.runs.search import forget_checkpoints, search
from vpt.training import evaluate, fit
from vpt.training.devices import accelerator_for
from vpt.training.fit import FitResult
from vpt.training.versions import versions

SCHEMA = 1
METRICS = ("accuracy", "mean_class_accuracy", "macro_f1")
"""What is measured on test at the last epoch; fractions in [0, 1]."""


def default_folder(config: RunConfig) -> Path:
    """`runs/<task>-<method>`, for a configuration that names no folder."""
    task = config.data.name or (config.data.root.stem if config.data.root else config.data.source)
    return Path("runs") / f"{task}-{config.method.name}"


def run(config: RunConfig, *, quiet: bool = False, prepared: Prepared | None = None) -> dict[str, Any]:
    """Do all of `config`, and answer with the content of `result.json`.

    A finished run is read and not repeated; an interrupted one goes on where it was. With several seeds each gets a
    folder `seed-N` that is a run of its own, and the outer `result.json` their means and standard deviations. There
    `data` is the first seed's, and `draws` has the images of each, which differ where few shots are drawn.
    prepared: backbone and task where the caller has them already, of this very configuration.
    """
    folder = config.out or default_folder(config)
    config = replace(config, out=folder)
    claim(config, folder)
    if (done := read_json(folder / RESULT)) is not None:
        if not quiet:
            note(f"{folder} is finished; nothing to do")
        return done
    prepared = prepared or prepare(config, quiet=quiet)
    found = search(config, prepared, folder, quiet=quiet) if config.search.lr else None
    settled = _settle(config, found)
    if len(config.seeds) == 1:
        return _seed(settled, prepared, folder, config, found, quiet=quiet)
    results = [_one_of_many(settled, seed, prepared, folder, found, quiet=quiet) for seed in config.seeds]
    result = _summary(config, results, found)
    write_json(folder / RESULT, result)
    return result


def _settle(config: RunConfig, found: Mapping[str, Any] | None) -> RunConfig:
    """The configuration with the search's answer in place of the search, and `fit_on` decided."""
    best = {} if found is None else {name: found[name] for name in ("lr", "weight_decay")}
    train, data = replace(config.train, **best), replace(config.data, fit_on=_fit_on(config))
    return replace(config, train=train, data=data, search=SearchConfig())


def _fit_on(config: RunConfig) -> str:
    """What "auto" means: train and val together once a search has used val, but few-shot training stays few-shot."""
    if config.data.fit_on != "auto":
        return config.data.fit_on
    few_shot = config.data.options.get("shots") is not None
    return "trainval" if config.search.lr and not few_shot else "train"


def _one_of_many(
    config: RunConfig, seed: int, prepared: Prepared, folder: Path, found: Mapping[str, Any] | None, *, quiet: bool
) -> dict[str, Any]:
    inner = folder / f"seed-{seed}"
    own = replace(config, seeds=[seed], out=inner)
    claim(own, inner)
    if (done := read_json(inner / RESULT)) is not None:
        return done
    return _seed(own, prepared.of_seed(config, seed, quiet=quiet), inner, own, found, quiet=quiet)


def _seed(
    settled: RunConfig,
    prepared: Prepared,
    folder: Path,
    asked: RunConfig,
    found: Mapping[str, Any] | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Train and measure one seed in `folder`; `result.json` comes last, so that its presence means all is there."""
    seed, task = settled.seeds[0], prepared.task
    settled = replace(settled, data=settled.data.drawn(seed))
    data, settings = settled.data, replace(settled.train, seed=seed)
    model = prepared.model(settled, seed)
    try:
        if not quiet:
            note(model.summary())
        images = task.trainval if data.fit_on == "trainval" else task.train
        train = prepared.dataset(images, data, augment=data.augment, seed=seed)
        val = prepared.dataset(task.val, data) if data.fit_on == "train" else None
        if model.trainable():
            fitted = fit(model, train, val, settings, out=folder, quiet=quiet, cache=data.cache)
        else:  # zero-shot: it is measured as it is
            model.to(accelerator_for(settings.precision).device)
            fitted = FitResult([], 0, 0.0)
        test = prepared.dataset(task.test, data)
        evaluation = evaluate(model, test, batch_size=settings.batch_size, workers=settings.workers)
        result = _result(asked, settled, model, prepared, evaluation, fitted, found)
        if is_main_process():
            _leave(folder, result, model, prepared, evaluation, fitted.history)
    finally:
        model.detach()
    forget_checkpoints(folder)
    return result


def _result(
    asked: RunConfig, settled: RunConfig, model: Tuned | TunedClip, prepared: Prepared, evaluation: Any, fitted: Any,
    found: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Everything a table or a plot of this run needs."""
    measured = {name: getattr(evaluation, name) for name in METRICS}
    content = {
        "schema": SCHEMA,
        "kind": "run",
        "config": asked.to_dict(),
        "trained_with": settled.to_dict(),
        "search": found,
        "command": sys.argv,
        "versions": versions(),
        "device": device_name(model),
        "precision": settled.train.precision,
        "fingerprint": fingerprint_of(model),
        "backbone_fingerprint": prepared.fingerprint,
        "preprocessing": prepared.preprocessing.to_dict(),
        "method": {"name": model.method, "path": model.path, "options": model.options},
        "parameters": parameter_counts(model),
        "data": prepared.task.record(),
        "seed": settled.seeds[0],
        "metrics": measured,
        "summary": summarise([measured]),
        "history": fitted.history,
        "seconds": fitted.seconds,
        "peak_memory": fitted.peak_memory,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    plain: dict[str, Any] = jsonable(content)
    return plain


def device_name(model: Tuned | TunedClip) -> str:
    """What `model` was trained on, e.g. "cpu" or "cuda (NVIDIA H200)"."""
    device = next(model.parameters()).device
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def parameter_counts(model: Tuned | TunedClip) -> dict[str, int]:
    """Numbers of parameters by what they are: all trained, those of prompts, of a timm model's head, and everything."""
    trained = model.trainable()
    heads = tuple(f"backbone.{name}." for name in (model.site.heads if isinstance(model, Tuned) else ()))
    kinds = {
        "trained": trained.values(),
        "prompts": [p for name, p in trained.items() if name.startswith("prompts.")],
        "head": [p for name, p in trained.items() if name.startswith(heads)],
        "all": model.parameters(),
    }
    return {name: sum(p.numel() for p in which) for name, which in kinds.items()}


def _leave(
    folder: Path,
    result: dict[str, Any],
    model: Tuned | TunedClip,
    prepared: Prepared,
    evaluation: Any,
    history: list[Any],
) -> None:
    """Artefact, report and record of a finished seed, in this order."""
    from vpt.training import write_report

    settled = result["trained_with"]
    data = {name: result["data"][name] for name in ("route", "sizes", "digests") if name in result["data"]}
    provenance = {
        "backbone": settled["backbone"], "data_config": settled["data"], "data": data,
        "train": settled["train"], "seed": result["seed"], "finished": result["finished"],
    }  # fmt: skip
    save(
        model, folder / ARTIFACT, classes=prepared.task.classes, preprocessing=prepared.preprocessing,
        metrics=result["metrics"], provenance=provenance, **settled["card"],
    )  # fmt: skip
    title = f"{model.method} on {prepared.task.name}, seed {result['seed']}"
    write_report(folder, evaluation, history, title)
    write_json(folder / RESULT, result)


def summarise(measured: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Per metric its values over seeds, their mean, and their sample standard deviation (0 for one seed)."""
    columns = {name: [row[name] for row in measured] for name in METRICS}
    return {
        name: {
            "mean": statistics.fmean(values),
            "std": statistics.stdev(values) if len(values) > 1 else 0.0,
            "values": values,
        }
        for name, values in columns.items()
    }


def _summary(config: RunConfig, results: Sequence[dict[str, Any]], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The outer record of several seeds."""
    same = (
        *("versions", "device", "precision", "fingerprint", "backbone_fingerprint"),
        *("preprocessing", "parameters", "data"),
    )
    content = {
        "schema": SCHEMA,
        "kind": "seeds",
        "config": config.to_dict(),
        "search": found,
        **{name: results[0][name] for name in same},
        "runs": [f"seed-{seed}" for seed in config.seeds],
        "seeds": list(config.seeds),
        "draws": [{name: result["data"][name] for name in ("splits", "digests")} for result in results],
        "summary": summarise([result["metrics"] for result in results]),
        "seconds": sum(result["seconds"] for result in results),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    plain: dict[str, Any] = jsonable(content)
    return plain
