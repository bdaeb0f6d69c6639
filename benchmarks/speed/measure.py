"""Seconds: contenders take turns, round after round, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from benchmarks.speed.models import Turn, turns
from benchmarks.speed.plan import Case

WARM_UP = 2
CUDA_REPEATS = 10
"""Steps in one turn on CUDA: launching overlaps with computing there, and one synchronised step would hide that."""


def seconds(turn: Turn, repeats: int, synchronise: Callable[[], None]) -> float:
    """Seconds of one `turn`, the mean over `repeats` in a row."""
    synchronise()
    started = time.perf_counter()
    for _ in range(repeats):
        turn()
    synchronise()
    return (time.perf_counter() - started) / repeats


def interleave(
    turns: Mapping[str, Turn], rounds: range, *, seed: int = 0, repeats: int = 1, synchronise: Callable[[], None]
) -> Iterator[dict[str, float]]:
    """Seconds of each turn by name, one row per round, in the order they were taken: another one in every round."""
    for index in rounds:
        order = list(turns)
        random.Random(f"{seed} {index}").shuffle(order)
        yield {name: seconds(turns[name], repeats, synchronise) for name in order}


def synchroniser(device: str) -> Callable[[], None]:
    """What waits until the device has done all it was given."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def steps(case: Case, done: int) -> Iterator[dict[str, float]]:
    """The rows of a `train` or `infer` case that are still to come after `done`, warmed up."""
    yield from in_turns(turns(case), case, done, WARM_UP)


def in_turns(contenders: Mapping[str, Turn], case: Case, done: int, warm_up: int) -> Iterator[dict[str, float]]:
    """The rows of a case that are still to come after `done`, each contender having had `warm_up` turns before."""
    for turn in [*contenders.values()] * warm_up:
        turn()
    repeats = CUDA_REPEATS if case.device == "cuda" else 1
    wait = synchroniser(case.device)
    yield from interleave(contenders, range(done, case.rows), seed=case.seed, repeats=repeats, synchronise=wait)
