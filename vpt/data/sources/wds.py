"""The VTAB tasks that the CLIP benchmark published as webdatasets: `ROOT/wds_vtab-<task>/{train,test}/<n>.tar`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder, read_text
from vpt.data.sources.registry import source
from vpt.data.sources.tar_shards import Split, index
from vpt.data.task import Task
from vpt.data.vtab.agreement import deviations, missing_classes, re_encoded
from vpt.data.vtab.table import TASKS, resolve
from vpt.errors import DataError, nearest

THEIRS = {
    "cifar": "wds_vtab-cifar100",
    "caltech101": "wds_vtab-caltech101",
    "dtd": "wds_vtab-dtd",
    "oxford_flowers102": "wds_vtab-flowers",
    "oxford_iiit_pet": "wds_vtab-pets",
    "svhn": "wds_vtab-svhn",
    "patch_camelyon": "wds_vtab-pcam",
    "eurosat": "wds_vtab-eurosat",
    "resisc45": "wds_vtab-resisc45",
    "diabetic_retinopathy": "wds_vtab-diabetic_retinopathy",
    "clevr_count": "wds_vtab-clevr_count_all",
    "clevr_dist": "wds_vtab-clevr_closest_object_distance",
    "dmlab": "wds_vtab-dmlab",
    "kitti": "wds_vtab-kitti_closest_vehicle_distance",
    "dsprites_loc": "wds_vtab-dsprites_label_x_position",
    "dsprites_ori": "wds_vtab-dsprites_label_orientation",
    "smallnorb_azi": "wds_vtab-smallnorb_label_azimuth",
    "smallnorb_ele": "wds_vtab-smallnorb_label_elevation",
}
"""VTAB-1K's tasks by folder name -> the folders of the CLIP benchmark."""

NOT_VTAB = {
    "sun397": "wds_sun397 is all of torchvision's SUN397 in the order of its classes, with no split of VTAB's, so that "
    "its first images are of a few classes alone and its test images others than VTAB-1K's; use source 'tfds'"
}
"""Tasks that have a folder there which holds something else -> what."""

UNKNOWN_ORDER = "train and val are not known to hold the images of VTAB-1K: the order of the shards may not be TFDS'"
TRAIN_IMAGES, VAL_IMAGES = 800, 200
PREFIX = "wds_vtab-"


def _check(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    """The reason where the folder of a task holds another."""
    task = None if name is None else resolve(name.removeprefix(PREFIX).removeprefix("wds_"))
    if task in NOT_VTAB:
        yield f"source 'wds' cannot give {name}: {NOT_VTAB[task]}"


def _found(root: Path) -> list[str]:
    """The folders that may be webdatasets."""
    return sorted(path.name for path in root.iterdir() if (path / "train").is_dir() or (path / "test").is_dir())


def _tasks(root: Path | None) -> list[str]:
    """The names of all webdatasets under `root`, those of VTAB-1K for its tasks."""
    ours = {theirs: task for task, theirs in THEIRS.items()}
    return [ours.get(folder, folder) for folder in _found(needs_folder("wds", root))]


@source("wds", _check, _tasks)
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """`name` is a task of VTAB-1K, or a folder of `root` with or without `wds_vtab-`; without it, `root` is the folder.

    Train and validation are the first 800 images and the next 200 of its train split in the order of the shards. These
    are not known to be VTAB-1K's own, which the task says in `splits` and `deviations`. Where the shards have a value
    of which VTAB-1K makes bins, such as dSprites' 40 orientations, labels are the bins.
    Raises `DataError` listing all missing and damaged shards, and all samples without an image or a proper label.
    """
    folder = _folder(needs_folder("wds", root), name)
    if faults := list(_check(folder.name, {})):
        raise DataError(faults[0])
    task_name = next((task for task, theirs in THEIRS.items() if theirs == folder.name), folder.name)
    found = {part: index(folder / part, max_pixels) for part in ("train", "test")}
    sets = _sets(folder, task_name, found)
    task = Task(
        task_name,
        sets["train"].subset(range(TRAIN_IMAGES)),
        sets["train"].subset(range(TRAIN_IMAGES, TRAIN_IMAGES + VAL_IMAGES)).named(f"{task_name}/val"),
        sets["test"],
        about=f"webdataset under {folder}; {UNKNOWN_ORDER}",
        splits={
            "train": f"images 0 .. {TRAIN_IMAGES - 1} of its train shards; not known to be VTAB-1K's",
            "val": f"the {VAL_IMAGES} after them; not known to be VTAB-1K's",
            "test": "its test shards",
        },
    )
    return replace(task, deviations=tuple(_deviations(task, found)))


def _sets(folder: Path, task: str, found: Mapping[str, Split]) -> dict[str, ImageSet]:
    """All images of both splits; raises `DataError` with everything that is wrong with them."""
    classes = _classes(folder, task, [label for split in found.values() for label in split.labels])
    labels = {part: _labels(task, split.labels) for part, split in found.items()}
    strange = [line for part, split in found.items() for line in _strange(split, labels[part], len(classes))]
    if faults := [*(fault for split in found.values() for fault in split.faults), *strange]:
        raise DataError("\n  ".join([f"{folder}: {len(faults)} faults:", *faults]))
    if (count := len(labels["train"])) < TRAIN_IMAGES + VAL_IMAGES:
        raise DataError(f"{folder}/train: has {count} images; {TRAIN_IMAGES} + {VAL_IMAGES} are needed")
    return {
        part: ImageSet(f"{task}/{part}", classes, labels[part], split.pictures, "wds") for part, split in found.items()
    }


def _deviations(task: Task, found: Mapping[str, Split]) -> Iterator[str]:
    """In what the task is not VTAB-1K's, if it has the name of one of these, and what its first images lack."""
    spec = TASKS.get(task.name)
    if spec is not None:
        yield UNKNOWN_ORDER
        yield from deviations(task, spec)
        kept = range(TRAIN_IMAGES + VAL_IMAGES)
        heads = (found["train"].pictures.heads(kept), found["test"].pictures.heads(range(len(task.test))))
        yield from re_encoded(spec, chain(*heads))
    yield from missing_classes(task)


def _folder(root: Path, name: str | None) -> Path:
    """The folder of a task, by any of its names."""
    if name is None:
        return root.resolve()
    known = THEIRS.get(resolve(name), name)
    for folder in (root / name, root / f"{PREFIX}{name}", root / f"wds_{name}", root / known):
        if folder.is_dir() and folder != root:
            return folder
    found = _found(root)
    of_vtab = [task for task, theirs in THEIRS.items() if theirs in found]
    hint = nearest(name, [*of_vtab, *found, *(folder.removeprefix(PREFIX) for folder in found)])
    wanted = f" ({known})" if known != name else ""
    raise DataError(f"{root}: no webdataset {name!r}{wanted}{hint}; found: {', '.join(found) or 'none'}")


def _classes(folder: Path, task: str, labels: list[int]) -> list[str]:
    """The lines of `classnames.txt`; without it, numbers: as many as VTAB-1K has, or as the labels need."""
    file = folder / "classnames.txt"
    if file.is_file() and not _is_binned(task):  # there they are names of the values
        return read_text(file).strip().splitlines()
    return [str(c) for c in range(TASKS[task].classes if task in TASKS else max(labels, default=0) + 1)]


def _is_binned(task: str) -> bool:
    """Whether the shards have values as labels, of which VTAB-1K's classes are bins: so with dSprites alone.

    Its other rules read what no label tells (the objects of CLEVR and KITTI, whose shards have the classes), or leave
    the label as it is.
    """
    return task in TASKS and TASKS[task].dataset == "dsprites"


def _labels(task: str, labels: list[int]) -> list[int]:
    """The classes that the labels of the shards mean."""
    if not _is_binned(task):
        return labels
    spec = TASKS[task]
    return [spec.label({spec.reads[0]: label}) for label in labels]


def _strange(split: Split, labels: list[int], classes: int) -> list[str]:
    """A line per image of `split` whose class, of `labels`, is none."""
    return [
        f"{split.pictures.describe(i)}: label {split.labels[i]} is none of the classes 0 .. {classes - 1}"
        + (f" in bins: it is in {label}" if label != split.labels[i] else "")
        for i, label in enumerate(labels)
        if label >= classes
    ]
