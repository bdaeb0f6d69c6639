"""Whether loaded images are a VTAB-1K task's own."""

from __future__ import annotations

from vpt.data.task import Task
from vpt.data.vtab.task import VtabTask
from vpt.errors import DataError


def deviations(task: Task, spec: VtabTask) -> list[str]:
    """One line per way in which the loaded `task` is not VTAB-1K's: sizes of its sets, number of classes.

    Empty where all agree. Which images a set holds cannot be told from it; that is up to the source.
    """
    wanted = {part: spec.counts(part) for part in spec.slices()}
    wanted["trainval"] = (wanted["train"][0] + wanted["val"][0],)
    found = {**task.sets(), "trainval": task.trainval}
    lines = [
        f"{part} has {len(found[part])} images, VTAB-1K's {' or '.join(map(str, counts))}"
        for part, counts in wanted.items()
        if len(found[part]) not in counts
    ]
    if len(task.classes) != spec.classes:
        lines.append(f"there are {len(task.classes)} classes, VTAB-1K has {spec.classes}")
    return lines


def require(task: Task, spec: VtabTask) -> None:
    """Raises `DataError` with every deviation; does nothing where there is none."""
    if lines := deviations(task, spec):
        raise DataError("\n  ".join([f"{task.name}: is not VTAB-1K's {spec.name} ({spec.title}):", *lines]))
