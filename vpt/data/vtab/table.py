"""The 19 tasks by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vpt.data.vtab.task import VtabTask
from vpt.data.vtab.tasks.caltech101 import CALTECH101
from vpt.data.vtab.tasks.cifar import CIFAR
from vpt.data.vtab.tasks.clevr import CLEVR_COUNT, CLEVR_DIST
from vpt.data.vtab.tasks.dmlab import DMLAB
from vpt.data.vtab.tasks.dsprites import DSPRITES_LOC, DSPRITES_ORI
from vpt.data.vtab.tasks.dtd import DTD
from vpt.data.vtab.tasks.eurosat import EUROSAT
from vpt.data.vtab.tasks.flowers import FLOWERS
from vpt.data.vtab.tasks.kitti import KITTI
from vpt.data.vtab.tasks.patch_camelyon import PATCH_CAMELYON
from vpt.data.vtab.tasks.pets import PETS
from vpt.data.vtab.tasks.resisc45 import RESISC45
from vpt.data.vtab.tasks.retinopathy import RETINOPATHY
from vpt.data.vtab.tasks.smallnorb import SMALLNORB_AZI, SMALLNORB_ELE
from vpt.data.vtab.tasks.sun397 import SUN397
from vpt.data.vtab.tasks.svhn import SVHN
from vpt.errors import OptionError, unknown

_ORDER = (
    *(CIFAR, CALTECH101, DTD, FLOWERS, PETS, SVHN, SUN397),
    *(PATCH_CAMELYON, EUROSAT, RESISC45, RETINOPATHY),
    *(CLEVR_COUNT, CLEVR_DIST, DMLAB, KITTI, DSPRITES_LOC, DSPRITES_ORI, SMALLNORB_AZI, SMALLNORB_ELE),
)

TASKS: dict[str, VtabTask] = {task.name: task for task in _ORDER}
"""Folder name -> task, in the order of the columns of published results."""

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(task.name for task in _ORDER if task.group == group)
    for group in ("natural", "specialized", "structured")
}
"""Group -> names of its tasks, in the same order."""


def _other_names() -> dict[str, str]:
    """Names that mean one task only: its column, its aliases, and TFDS' name where a single task is made of it."""
    datasets = [task.dataset for task in _ORDER]
    found: dict[str, str] = {}
    for task in _ORDER:
        own = [task.dataset] if datasets.count(task.dataset) == 1 else []
        found |= dict.fromkeys([task.published, *task.aliases, *own], task.name)
    return found


_OTHER_NAMES = _other_names()


def get(name: str) -> VtabTask:
    """The task called `name`, in any of its names, `-` or `_`; raises `OptionError` with the nearest name."""
    key = resolve(name)
    if key not in TASKS:
        raise unknown("VTAB-1K task", name, {*TASKS, *_OTHER_NAMES})
    return TASKS[key]


def resolve(name: str) -> str:
    """The name of the task called `name` in any of its names; `name` as given where no task is."""
    key = name.lower().replace("-", "_")
    key = _OTHER_NAMES.get(key, key)
    return key if key in TASKS else name


def name_faults(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    """A line where `name` is no task's: the check of every source that has just these tasks."""
    try:
        if name is None:
            raise OptionError(f"name is missing; accepted: {', '.join(TASKS)}")
        get(name)
    except OptionError as error:
        yield str(error)
