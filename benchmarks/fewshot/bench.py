"""A worker's bench of few-shot trials: what each draws, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.fewshot.stage import BASE_TO_NEW, HARMONIC, NEW, TRANSFER, Stage, on
from benchmarks.suite.bench import Bench
from benchmarks.suite.measured import Measured, rates
from benchmarks.suite.trial import Trial
from vpt.data import ImageDataset, ImageSet, Task, base_to_new, few_shot_task, harmonic_mean
from vpt.errors import OptionError
from vpt.runs.config import DataConfig
from vpt.runs.prepare import Prepared
from vpt.training import evaluate
from vpt.training.config import FitConfig
from vpt.training.devices import accelerator_for


@dataclass
class FewShotBench(Bench):
    """Draws by the protocol; where the image tower is frozen, it sees every set of images once for all trials."""

    _halves: dict[str, tuple[Task, Task]] = field(default_factory=dict, repr=False)

    def _open(self, name: str) -> Task:
        """The task as its source has it: what no trial draws is never decoded."""
        return self.load(name, self.settings.data)

    def _drawn(self, trial: Trial) -> Task:
        stage = Stage.of(trial.stage)
        task = self._half(trial.task, 0) if stage.kind == BASE_TO_NEW else self.task(trial.task)
        return few_shot_task(task, stage.shots, trial.seed, "auto") if stage.shots else task

    def _half(self, name: str, half: int) -> Task:
        """The base (0) or new (1) half, kept, so that its digests are taken once."""
        if name not in self._halves:
            self._halves[name] = base_to_new(self.task(name))
        return self._halves[name][half]

    def _data(self, trial: Trial, prepared: Prepared) -> dict[str, Any]:
        """The tasks as they are, the same for all trials, and what this one drew of its own."""
        stage, drawn = Stage.of(trial.stage), prepared.task
        sets = drawn.sets() if stage.shots else {"test": drawn.test}
        if stage.kind == BASE_TO_NEW:
            sets = {**sets, "new": self._half(trial.task, 1).test}
        found: dict[str, Any] = {"data": facts(self.task(trial.task)), "drawn": {
            "shots": stage.shots, "classes": len(drawn.classes), "splits": dict(drawn.splits),
            "sizes": {part: len(images) for part, images in sets.items()},
            "digests": {part: images.digest() for part, images in sets.items()},
        }}  # fmt: skip
        if stage.kind == TRANSFER:
            found["others"] = {name: facts(self.task(name)) for name in self._targets(trial)}
        return found

    def _sets(self, trial: Trial, prepared: Prepared) -> tuple[ImageDataset, ImageDataset]:
        """What a trial is trained on, and the test images of the same classes."""
        drawn = bool(Stage.of(trial.stage).shots)
        return self._dataset(prepared.task.train, keep=drawn), self._dataset(prepared.task.test)

    def _dataset(self, images: ImageSet, *, keep: bool = True) -> ImageDataset:
        """keep: decode all of them now, once for all trials."""
        return self.base.dataset(images, DataConfig(cache=self.cache / "pixels" if keep else None))

    def _measured(self, trial: Trial, model: Any, judged: ImageDataset, settings: FitConfig) -> Measured:
        """Rates on the trial's own classes; then, with other names in their place, on other ones."""
        stage, remarks = Stage.of(trial.stage), list[str]()
        metrics = rates(self._evaluate(model, judged, settings))
        for name, task in self._others(trial, stage):
            try:
                model.rebind(task().classes)
            except OptionError as error:
                remarks.append(f"{name}: {error}")
            else:
                metrics[name] = self._evaluate(model, self._dataset(task().test), settings).accuracy
        if NEW in metrics:
            metrics[HARMONIC] = harmonic_mean(metrics["accuracy"], metrics[NEW])
        return Measured(metrics, remarks)

    def _others(self, trial: Trial, stage: Stage) -> Sequence[tuple[str, Callable[[], Task]]]:
        """The further metrics of a trial, each with the task that it is the accuracy on."""
        if stage.kind == BASE_TO_NEW:
            return [(NEW, partial(self._half, trial.task, 1))]
        if stage.kind == TRANSFER:
            return [(on(name), partial(self.task, name)) for name in self._targets(trial)]
        return []

    def _targets(self, trial: Trial) -> list[str]:
        return [name for name in self.settings.targets if name != trial.task]

    def _evaluate(self, model: Any, images: ImageDataset, settings: FitConfig) -> Any:
        precise = accelerator_for(settings.precision)
        size = self.settings.batch_size  # methods that are trained one by one need not be measured so
        return evaluate(model, images, batch_size=size, accelerator=precise, cache=self.cache / "inputs")


def facts(task: Task) -> dict[str, Any]:
    """What a record says of a whole task; digests of its test images alone, since of the others only some are read."""
    return {
        "name": task.name, "route": task.route, "about": task.about, "splits": dict(task.splits),
        "deviations": list(task.deviations), "prepared_with": dict(task.prepared_with),
        "sizes": {part: len(images) for part, images in task.sets().items()},
        "digests": {"test": task.test.digest()},
    }  # fmt: skip
