"""A folder per class: `root/<class>/*.jpg`, or `root/{train,val,test}/<class>/*.jpg`."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from vpt.data.decode import MAX_PIXELS, SUFFIXES
from vpt.data.imageset import ImageSet
from vpt.data.pictures import Files
from vpt.data.sources.options import Count, Fraction, Patterns, Seed
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source
from vpt.data.split import complete
from vpt.data.task import Task
from vpt.errors import DataError

VAL_FOLDERS = ("val", "valid", "validation")
LITTER = ("Thumbs.db", "desktop.ini")  # left behind by file managers; names starting with a dot are passed over too


@source("folder")
def load(
    root: Path | None,
    name: str | None,
    *,
    val_fraction: Fraction = 0.2,
    test_fraction: Fraction = 0.2,
    split_seed: Seed = 0,
    ignore: Patterns = (),
    max_pixels: Count = MAX_PIXELS,
) -> Task:
    """Classes are the subfolders of `root/train` if it is there, else those of `root`, in sorted order.

    A missing `test` is held out of the training images, stratified; a missing `val` of what remains.
    Every file has to be an image, save those matching `ignore`: a pattern (such as "*.txt"), or several.
    """
    root = needs_folder("folder", root)
    patterns = [ignore] if isinstance(ignore, str) else ignore
    split = (root / "train").is_dir() and bool(class_folders(root / "train"))
    train_root = root / "train" if split else root
    classes = class_folders(train_root)
    if not classes:
        raise DataError(f"{root}: no class folders; accepted: {root}/<class>/ or {root}/train/<class>/")

    def read(folder: Path) -> ImageSet:
        return _read(folder, classes, patterns, max_pixels)

    val = next((root / part for part in VAL_FOLDERS if split and (root / part).is_dir()), None)
    test = root / "test" if split and (root / "test").is_dir() else None
    if split:
        _refuse_strays(root, ["train", "test", *VAL_FOLDERS], patterns)
    return complete(
        name or root.name,
        read(train_root),
        read(val) if val else None,
        read(test) if test else None,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        about=f"image files under {root}",
    )


def _read(folder: Path, classes: list[str], ignore: Sequence[str], max_pixels: int) -> ImageSet:
    paths, labels = labelled_files(folder, classes, ignore)
    return ImageSet(str(folder), classes, labels, Files(tuple(paths), max_pixels), "folder")


def labelled_files(folder: Path, classes: list[str], ignore: Sequence[str] = ()) -> tuple[list[str], list[int]]:
    """Paths and labels of the images in the folders of `classes` in `folder`; raises `DataError` for anything else."""
    _refuse_strays(folder, classes, ignore)
    by_class = [_files(folder / c, ignore) if (folder / c).is_dir() else [] for c in classes]
    paths = [path for members in by_class for path in members]
    wrong = [path for path in paths if not path.lower().endswith(SUFFIXES)]
    if wrong:
        raise DataError("\n  ".join([f"{folder}: not images by name; remove them or pass ignore=:", *wrong]))
    return paths, [label for label, members in enumerate(by_class) for _ in members]


def _refuse_strays(folder: Path, classes: list[str], ignore: Sequence[str]) -> None:
    """No class folder the model would have no output for, and no image that belongs to no class."""
    strays = [
        entry.name
        for entry in os.scandir(folder)
        if not _passed_over(entry.name, ignore)
        and (entry.name not in classes if entry.is_dir() else entry.name.lower().endswith(SUFFIXES))
    ]
    if strays:
        raise DataError(
            f"{folder}: belongs to no known class: {', '.join(sorted(strays))}; known: {', '.join(classes)}"
        )


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted, hidden ones left out."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path, ignore: Sequence[str]) -> list[str]:
    return sorted(
        os.path.join(where, file)
        for where, _, files in os.walk(folder, followlinks=True)
        for file in files
        if not _passed_over(file, ignore)
    )


def _passed_over(file: str, ignore: Sequence[str]) -> bool:
    return file.startswith(".") or file in LITTER or any(fnmatch.fnmatch(file, pattern) for pattern in ignore)
