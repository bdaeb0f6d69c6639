"""The predictor alone: a pass over many tasks, adding them, what each takes, changing between them, and equality."""

from __future__ import annotations

import gc
import multiprocessing
import random
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

import vpt
from benchmarks.serving import tasks
from benchmarks.serving.settings import Settings
from benchmarks.speed.measure import interleave, seconds, synchroniser
from benchmarks.speed.memory import Resident, returning_memory
from benchmarks.speed.models import Turn

Row = dict[str, Any]
WARM_UP = 2
AT_ONCE = 16
"""Images of a batch whose time is compared after a batch of its own task and after one of another."""

_wait = synchroniser("cpu")


def mixing(settings: Settings, folder: Path, done: int) -> Iterator[Row]:
    """Seconds of one pass over B images, each contender in its turn: the rows that are still to come after `done`."""
    turns = contenders(settings, folder)
    for turn in [*turns.values()] * WARM_UP:
        turn()
    yield from interleave(turns, range(done, settings.rows("mixing")), seed=settings.seed, synchronise=_wait)


def contenders(settings: Settings, folder: Path) -> dict[str, Turn]:
    """The backbone alone, all images of one task, of a task each, of tasks of uneven lengths, and shallow and deep."""
    model, count = tasks.backbone(settings), settings.batch
    same = tasks.deep(settings, folder, model, count)
    mixtures = {
        "one": same[:1] * count,
        "each": same,
        "uneven": tasks.uneven(settings, folder, model, count),
        "halves": tasks.halves(settings, folder, model, count),
    }
    predictor, seen = vpt.Predictor(model), tasks.images(model, count)
    for place in dict.fromkeys(place for places in mixtures.values() for place in places):
        predictor.add(place)

    def alone() -> None:
        with torch.no_grad():
            model(seen)

    def predicting(places: list[Path]) -> Turn:
        names = [place.name for place in places]
        return lambda: predictor(seen, names)

    return {"backbone": alone, **{name: predicting(places) for name, places in mixtures.items()}}


def adding(settings: Settings, folder: Path, done: int) -> Iterator[Row]:
    """Seconds of each task's addition to a predictor that has had one; a row is all of them, into a new predictor."""
    model = tasks.backbone(settings)
    first, *others = tasks.deep(settings, folder, model, settings.tasks + 1)
    for _ in range(done, settings.rows("adding")):
        predictor = vpt.Predictor(model)
        predictor.add(first)
        yield {"seconds": [_seconds_to_add(predictor, place) for place in others]}


def _seconds_to_add(predictor: vpt.Predictor, place: Path) -> float:
    started = time.perf_counter()
    predictor.add(place)
    return time.perf_counter() - started


def memory(settings: Settings, folder: Path, done: int) -> Iterator[Row]:
    """Bytes of the tasks: by how much a process of its own grows, in their tensors, and in their files."""
    tasks.deep(settings, folder, tasks.backbone(settings), settings.tasks + 1)
    context = multiprocessing.get_context(settings.start)
    context.set_forkserver_preload(["timm", "vpt.serving"])  # once, where processes are forked
    with returning_memory(), ProcessPoolExecutor(1, context) as pool:
        yield pool.submit(growth, settings, folder).result()


def growth(settings: Settings, folder: Path) -> Row:
    """What the tasks add to a predictor that has had one, and has answered. To be called in a fresh process."""
    model = tasks.backbone(settings)
    first, *others = tasks.deep(settings, folder, model, settings.tasks + 1)
    predictor, resident = vpt.Predictor(model), Resident()
    predictor(tasks.images(model, 1), predictor.add(first))
    gc.collect()
    before = resident.now()
    names = [predictor.add(place) for place in others]
    gc.collect()
    return {
        "resident": resident.now() - before,
        "tensors": sum(predictor.task(name).bytes for name in names),
        "files": sum(file.stat().st_size for place in others for file in place.iterdir()),
        "tasks": len(names),
    }


def swapping(settings: Settings, folder: Path, done: int) -> Iterator[Row]:
    """Seconds of a batch of one task right after a batch of that task, and right after one of another."""
    model = tasks.backbone(settings)
    predictor, seen = vpt.Predictor(model), tasks.images(model, AT_ONCE)
    own, other = map(predictor.add, tasks.deep(settings, folder, model, 2))
    before = {"same": own, "other": other}
    for index in range(done, settings.rows("swapping")):
        yield dict(_after(predictor, seen, own, before, random.Random(f"{settings.seed} {index}")))


def _after(
    predictor: vpt.Predictor, seen: torch.Tensor, own: str, before: Mapping[str, str], drawn: random.Random
) -> Iterator[tuple[str, float]]:
    for name in drawn.sample([*before], len(before)):
        predictor(seen, before[name])
        yield name, seconds(lambda: predictor(seen, own), 1, _wait)


def equality(settings: Settings, folder: Path, done: int) -> Iterator[Row]:
    """In float64, how far one pass over all tasks is from each task loaded alone, relative to its largest logit."""
    model = tasks.backbone(settings)
    places = tasks.deep(settings, folder, model, settings.tasks)
    model = model.double()  # another backbone by its fingerprint, hence `force`
    seen, predictor = tasks.images(model, len(places)).double(), vpt.Predictor(model)
    names = [predictor.add(place, force=True) for place in places]
    together = [result.logits for result in predictor(seen, names)]
    apart = [_alone(place, model, image) for place, image in zip(places, seen, strict=True)]
    found = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(together, apart, strict=True)]
    yield {"tasks": len(found), "largest": max(found), "median": statistics.median(found)}


def _alone(place: Path, model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Logits `[C]` of the image `[3, H, W]` by the task loaded alone."""
    tuned = vpt.load(model, place, force=True)
    try:
        with torch.no_grad():
            return tuned.eval()(image[None])[0]  # type: ignore[no-any-return]
    finally:
        tuned.detach()
