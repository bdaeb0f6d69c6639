"""The VTAB tasks that the CLIP benchmark published as webdatasets: `ROOT/wds_vtab-<task>/{train,test}/<n>.tar`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder, read_text
from vpt.data.sources.registry import source
from vpt.data.sources.tar_shards import Split, index
from vpt.data.task import Task
from vpt.data.vtab.agreement import deviations
from vpt.data.vtab.table import TASKS
from vpt.errors import DataError, nearest

THEIRS = {
    "cifar": "wds_vtab-cifar100",
    "caltech101": "wds_vtab-caltech101",
    "dtd": "wds_vtab-dtd",
    "oxford_flowers102": "wds_vtab-flowers",
    "oxford_iiit_pet": "wds_vtab-pets",
    "svhn": "wds_vtab-svhn",
    "sun397": "wds_sun397",
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

UNKNOWN_ORDER = "train and val are not known to hold the images of VTAB-1K: the order of the shards may not be TFDS'"
TRAIN_IMAGES, VAL_IMAGES = 800, 200
PREFIX = "wds_vtab-"


@source("wds")
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """`name` is a task of VTAB-1K, or a folder of `root` with or without `wds_vtab-`; without it, `root` is the folder.

    Train and validation are the first 800 images and the next 200 of its train split in the order of the shards. These
    are not known to be VTAB-1K's own, which the task says in `splits` and `deviations`.
    Raises `DataError` listing all missing and damaged shards, and all samples without an image or a proper label.
    """
    folder = _folder(needs_folder("wds", root), name)
    task_name = next((task for task, theirs in THEIRS.items() if theirs == folder.name), folder.name)
    found = {split: index(folder / split, max_pixels) for split in ("train", "test")}
    classes = _classes(folder, task_name, [label for split in found.values() for label in split.labels])
    if faults := [fault for split in found.values() for fault in (*split.faults, *_strange(split, len(classes)))]:
        raise DataError("\n  ".join([f"{folder}: {len(faults)} faults:", *faults]))
    if (count := len(found["train"].labels)) < TRAIN_IMAGES + VAL_IMAGES:
        raise DataError(f"{folder}/train: has {count} images; {TRAIN_IMAGES} + {VAL_IMAGES} are needed")

    def images(part: str, split: Split) -> ImageSet:
        return ImageSet(f"{task_name}/{part}", classes, split.labels, split.pictures, "wds")

    train = images("train", found["train"])
    task = Task(
        task_name,
        train.subset(range(TRAIN_IMAGES)),
        train.subset(range(TRAIN_IMAGES, TRAIN_IMAGES + VAL_IMAGES)).named(f"{task_name}/val"),
        images("test", found["test"]),
        about=f"webdataset under {folder}; {UNKNOWN_ORDER}",
        splits={
            "train": f"images 0 .. {TRAIN_IMAGES - 1} of its train shards; not known to be VTAB-1K's",
            "val": f"the {VAL_IMAGES} after them; not known to be VTAB-1K's",
            "test": "its test shards",
        },
    )
    spec = TASKS.get(task_name)
    return task if spec is None else replace(task, deviations=(UNKNOWN_ORDER, *deviations(task, spec)))


def _folder(root: Path, name: str | None) -> Path:
    """The folder of a task, by any of its names."""
    if name is None:
        return root.resolve()
    known = next((theirs for task, theirs in THEIRS.items() if name in _names(task)), name)
    for folder in (root / name, root / f"{PREFIX}{name}", root / f"wds_{name}", root / known):
        if folder.is_dir() and folder != root:
            return folder
    found = sorted(path.name for path in root.iterdir() if (path / "train").is_dir() or (path / "test").is_dir())
    of_vtab = [task for task, theirs in THEIRS.items() if theirs in found]
    hint = nearest(name, [*of_vtab, *found, *(folder.removeprefix(PREFIX) for folder in found)])
    wanted = f" ({known})" if known != name else ""
    raise DataError(f"{root}: no webdataset {name!r}{wanted}{hint}; found: {', '.join(found) or 'none'}")


def _names(task: str) -> tuple[str, ...]:
    return task, TASKS[task].published, *TASKS[task].aliases


def _classes(folder: Path, task: str, labels: list[int]) -> list[str]:
    """The lines of `classnames.txt`; without it, numbers: as many as VTAB-1K has, or as the labels need."""
    file = folder / "classnames.txt"
    if file.is_file():
        return read_text(file).strip().splitlines()
    return [str(c) for c in range(TASKS[task].classes if task in TASKS else max(labels, default=0) + 1)]


def _strange(split: Split, classes: int) -> list[str]:
    return [
        f"{split.pictures.describe(i)}: label {label} is none of the classes 0 .. {classes - 1}"
        for i, label in enumerate(split.labels)
        if label >= classes
    ]
