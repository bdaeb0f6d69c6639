"""A worker's bench: the backbone and the tasks, loaded once per process, and the trials that are done on them.

It trains and measures what "search" and "final" say. A suite with other stages says what they draw and measure in a
class of its own, by `_open`, `_drawn`, `_sets`, `_data` and `_measured`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.suite import measured
from benchmarks.suite.folder import forget
from benchmarks.suite.measured import Clock, Measured, provenance, record
from benchmarks.suite.schedule import Job
from benchmarks.suite.settings import Settings, SourceConfig
from benchmarks.suite.trial import SEARCH, Point, Trial
from vpt.artifacts.save import fingerprint_of_backbone, jsonable
from vpt.data import ImageDataset, Task
from vpt.data.locks import hold
from vpt.data.prepared import is_prepared, open_prepared, prepare
from vpt.errors import NonFiniteLoss, TrainingError
from vpt.runs.config import DataConfig, MethodConfig, RunConfig
from vpt.runs.prepare import Prepared, prepare_backbone, prepare_preprocessing, prepare_tokenizer
from vpt.training import FitResult, evaluate, fit, probe
from vpt.training.config import FitConfig
from vpt.training.devices import accelerator_for, forget_peak, peak_memory

LoadTask = Callable[[str, SourceConfig], Task]
"""How a suite loads a task by name. Raises `DataError` or `OptionError`."""

Records = list[dict[str, Any]]


@dataclass
class Bench:
    """What a worker process keeps between jobs.

    cache: folder of prepared images and frozen inputs, shared by all workers of a machine.
    scratch: folder of the checkpoints of unfinished trials.
    """

    settings: Settings
    load: LoadTask
    cache: Path
    scratch: Path
    _tasks: dict[str, Task | Exception] = field(default_factory=dict, repr=False)
    _handed_over: list[Path] = field(default_factory=list, repr=False)

    @cached_property
    def base(self) -> Prepared:
        """The backbone, on the worker's device, with preprocessing and fingerprint; the task comes trial by trial."""
        backbone = prepare_backbone(self.settings.backbone)
        preprocessing = prepare_preprocessing(backbone, self.settings.preprocessing)
        fingerprint, nothing = fingerprint_of_backbone(backbone), None
        device, tokenizer = accelerator_for(self.settings.precision).device, prepare_tokenizer(self.settings.backbone)
        return Prepared(backbone.to(device), nothing, preprocessing, fingerprint, tokenizer)  # type: ignore[arg-type]

    def task(self, name: str) -> Task:
        """The task, whose images are decoded and resized once per machine, by the first worker that needs them.

        Raises what loading raises, without trying twice.
        """
        if name not in self._tasks:
            try:
                self._tasks[name] = self._open(name)
            except Exception as error:
                self._tasks[name] = error
        found = self._tasks[name]
        if isinstance(found, Exception):
            raise found
        return found

    def _open(self, name: str) -> Task:
        folder = self._prepared(name)
        with hold(folder.with_suffix(".lock")):  # whoever comes second waits, and does not decode again
            if not is_prepared(folder):
                prepare(self.load(name, self.settings.data), folder, self.base.preprocessing)
        return open_prepared(folder)

    def _prepared(self, name: str) -> Path:
        """A folder for each task, source and way of resizing."""
        whole = {"data": vars(self.settings.data), "resize": self.base.preprocessing.resizing()}
        key = hashlib.sha256(json.dumps(jsonable(whole), sort_keys=True).encode()).hexdigest()
        return self.cache / f"{name}-{key[:12]}"

    def do(self, job: Job) -> Records:
        """The records of the wanted trials. Exceptions are records, too; only an interruption comes through."""
        while self._handed_over:  # the driver has their records, or it would not have sent another job
            forget(self._handed_over.pop())
        records: Records = []
        with _failures_recorded(job.left, records):
            records += [found for found in self._together(job) or () if found["id"] in job.wanted]
        if not records:
            for trial, point in zip(job.trials, job.points, strict=True):
                if trial in job.left:
                    with _failures_recorded((trial,), records):
                        records.append(self._alone(trial, point))
        return records

    def _alone(self, trial: Trial, point: Point) -> dict[str, Any]:
        """Train and measure one trial; an interrupted one goes on from its checkpoint."""
        prepared, fit_settings = self._prepare(trial), self._fit_settings(trial, point)
        clock, scratch = Clock.now(), self.scratch / trial.id
        model: Any = prepared.model(self._config(trial, fit_settings), trial.seed)
        fitted: FitResult | None = None
        try:
            about = provenance(self.settings, prepared, model, trial, point, fit_settings)
            about |= self._data(trial, prepared)
            train, judged = self._sets(trial, prepared)
            fitted = self._fitted(model, train, fit_settings, scratch)
            measuring = time.perf_counter()
            found = self._measured(trial, model, judged, fit_settings)
            clock = clock.adding(fitted.seconds + time.perf_counter() - measuring)
            outcome = measured.done(found, fitted.history)
        except NonFiniteLoss as error:
            outcome = measured.diverged(str(error))
        except TrainingError as error:
            if fitted is None:
                raise
            outcome = measured.diverged(str(error))  # the last step left logits that are not finite
        finally:
            model.detach()
        self._handed_over.append(scratch)
        epochs = [row["seconds"] for row in fitted.history] if fitted else []
        return record(trial, about, outcome, {"cost": clock.cost(epochs, fitted.peak_memory if fitted else None)})

    def _together(self, job: Job) -> Records | None:
        """The records of linear probes trained side by side; None for trials that have to be done one by one."""
        if not job.together:
            return None
        trials = job.trials
        prepared, clock = self._prepare(trials[0]), Clock.now()
        settings = [self._fit_settings(trial, point) for trial, point in zip(trials, job.points, strict=True)]
        points = [probe.Point(fit.lr, fit.weight_decay, fit.seed) for fit in settings]
        firsts = {trial.seed: (trial, fit) for trial, fit in zip(trials, settings, strict=True)}
        starts = {seed: self._start(prepared, *first) for seed, first in firsts.items()}
        model = prepared.model(self._config(trials[0], settings[0]), trials[0].seed)
        try:
            sets, cache = self._sets(trials[0], prepared), self.cache / "inputs"
            device = next(model.parameters()).device
            forget_peak(device)
            found = probe.sweep(model, *sets, points, settings[0], cache=cache, starts=starts)
            if found is None:
                return None
            cost = clock.cost(peak=peak_memory(device), together=len(trials))
            about = [
                provenance(self.settings, prepared, model, trial, point, fit) | self._data(trial, prepared)
                for trial, point, fit in zip(trials, job.points, settings, strict=True)
            ]
        finally:
            model.detach()
        return [record(t, a, _outcome(f), {"cost": cost}) for t, a, f in zip(trials, about, found, strict=True)]

    def _start(self, prepared: Prepared, trial: Trial, settings: FitConfig) -> probe.Start:
        """The linear head that the trial's seed begins with."""
        model: Any = prepared.model(self._config(trial, settings), trial.seed)
        try:
            return probe.start_of(model.backbone.get_submodule(model.head_names[0]))
        finally:
            model.detach()

    def _prepare(self, trial: Trial) -> Prepared:
        return replace(self.base, task=self._drawn(trial))

    def _drawn(self, trial: Trial) -> Task:
        """The images of a trial."""
        return self.task(trial.task)

    def _data(self, trial: Trial, prepared: Prepared) -> dict[str, Any]:
        """What a trial's record says of its images."""
        data = prepared.task.record()
        del data["classes"]  # names; their number is the head's
        return {"data": data}

    def _fitted(self, model: Any, train: ImageDataset, settings: FitConfig, scratch: Path) -> FitResult:
        """Train; a model that learns nothing is as it is."""
        if not model.trainable():
            return FitResult([], 0, 0.0)
        return fit(model, train, None, settings, out=scratch, quiet=True, cache=self.cache / "inputs")

    def _measured(self, trial: Trial, model: Any, judged: ImageDataset, settings: FitConfig) -> Measured:
        """What a trained model is worth."""
        precise = accelerator_for(settings.precision)
        found = evaluate(model.fold(), judged, batch_size=settings.batch_size, accelerator=precise)
        return Measured(measured.rates(found))

    def _fit_settings(self, trial: Trial, point: Point) -> FitConfig:
        return self.settings.fit(trial, point.lr, point.weight_decay)

    def _config(self, trial: Trial, settings: FitConfig) -> RunConfig:
        method = MethodConfig(trial.method, self.settings.path, self.settings.head_init, dict(trial.options))
        return RunConfig(backbone=self.settings.backbone, method=method, train=settings)

    def _sets(self, trial: Trial, prepared: Prepared) -> tuple[ImageDataset, ImageDataset]:
        """What a trial is trained on, and what it is measured on: test in final trials alone."""
        task = prepared.task
        train, judged = (task.train, task.val) if trial.stage == SEARCH else (task.trainval, task.test)
        data = DataConfig()
        return prepared.dataset(train, data, seed=trial.seed), prepared.dataset(judged, data)


@contextmanager
def _failures_recorded(trials: tuple[Trial, ...], records: Records) -> Iterator[None]:
    """An exception inside becomes a record of each of `trials`."""
    clock = Clock.now()
    try:
        yield
    except Exception as error:
        if _device_is_lost(error):
            raise  # this process can do nothing any more: its worker dies, and another takes over
        records += measured.failures(trials, error, clock)


def _device_is_lost(error: Exception) -> bool:
    """Whether CUDA has failed in a way that makes every later call in this process fail, too."""
    full = isinstance(error, torch.cuda.OutOfMemoryError)
    return not full and isinstance(error, RuntimeError) and str(error).startswith("CUDA error")


def _outcome(trial: probe.Trial) -> dict[str, Any]:
    """What became of one of many probes."""
    if trial.failed is not None:
        return measured.diverged(trial.failed)
    history = [{"epoch": e, "train_loss": loss} for e, loss in enumerate(trial.losses, 1)]
    return measured.done(Measured(measured.rates(trial)), history)
