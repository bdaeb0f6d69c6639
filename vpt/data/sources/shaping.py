"""What `load_task` makes of a task that its source gave: names, an own split, half of the classes, few shots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from vpt.data.base_to_new import Half, half_of
from vpt.data.class_names import renamed
from vpt.data.class_names import spoken as as_spoken
from vpt.data.fewshot import ValShots, few_shot_task, with_val_shots
from vpt.data.resplit import resplit as divided_anew
from vpt.data.sources.class_names import read_class_names
from vpt.data.task import Task

GivenNames = Sequence[str] | Mapping[str, str] | str | Path


def shaped(
    task: Task,
    *,
    class_names: GivenNames | None,
    spoken: bool,
    resplit: int | None,
    resplit_seed: int,
    half: str | None,
    shots: int | None,
    val_shots: int | str | None,
    seed: int,
) -> Task:
    """The task after the options of `load_task` of these names, in the order in which they stand here."""
    if isinstance(class_names, str | Path):
        class_names = read_class_names(Path(class_names), task.classes)
    if class_names is not None:
        task = renamed(task, class_names)
    if spoken:
        task = renamed(task, as_spoken(task.classes))
    if resplit is not None:
        task = divided_anew(task, resplit, seed=resplit_seed)
    if half is not None:
        task = half_of(task, cast(Half, half))
    if shots is not None:
        return few_shot_task(task, shots, seed, cast(ValShots | None, val_shots))
    return task if val_shots is None else with_val_shots(task, int(val_shots), seed)


def shape_faults(options: Mapping[str, Any]) -> Iterator[str]:
    """A line per option that makes no sense beside another."""
    shots, resplit = options.get("shots"), options.get("resplit")
    if shots is None and options.get("val_shots") == "auto":
        yield "val_shots='auto' is min(shots, 4), and shots is not given"
    if isinstance(shots, int) and isinstance(resplit, int) and shots > resplit:
        yield f"shots={shots} are more than resplit={resplit} leaves to train on; accepted: 1 to {resplit}"
