"""A CSV file with a header and the columns `path`, `label` and, if wanted, `split` (train, val or test)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.pictures import Files
from vpt.data.sources.options import Count, Folder, Fraction, Names, Seed
from vpt.data.sources.places import needs_file, read_text
from vpt.data.sources.registry import source
from vpt.data.split import complete
from vpt.data.task import Task
from vpt.errors import DataError, nearest

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


@source("csv")
def load(
    root: Path | None,
    name: str | None,
    *,
    images: Folder | None = None,
    classes: Names | None = None,
    val_fraction: Fraction = 0.2,
    test_fraction: Fraction = 0.2,
    split_seed: Seed = 0,
    max_pixels: Count = MAX_PIXELS,
) -> Task:
    """`root` is the CSV file; its paths are relative to `images`, by default the folder it lies in.

    Classes are the labels of the training rows, sorted (by value where all are whole numbers), unless given.
    Other columns are not read. All bad rows are named at once in a `DataError`.
    """
    file = needs_file("csv", root)
    folder = file.parent if images is None else Path(images)
    rows = _rows(file, folder)
    names = list(classes) if classes is not None else _classes([row.label for row in rows if row.split == "train"])
    strange = [f"line {row.line}: {row.label!r}{nearest(row.label, names)}" for row in rows if row.label not in names]
    if strange:
        raise DataError("\n  ".join([f"{file}: labels that are no class of the training rows:", *strange]))

    def part(split: str) -> ImageSet | None:
        of_split = [row for row in rows if row.split == split]
        paths = tuple(str(folder / row.path) for row in of_split)
        labels = [names.index(row.label) for row in of_split]
        return ImageSet(f"{file.name}:{split}", names, labels, Files(paths, max_pixels), "csv") if of_split else None

    train = part("train")
    if train is None:
        raise DataError(f"{file}: no row for training")
    return complete(
        name or file.stem,
        train,
        part("val"),
        part("test"),
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        about=f"image files listed in {file}",
    )


def _rows(file: Path, folder: Path) -> list[_Row]:
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""))
    try:
        columns = reader.fieldnames or []
        for column in ("path", "label"):
            if column not in columns:
                raise DataError(f"{file}: no column {column!r}; its header has: {', '.join(columns)}")
        rows = [_row(reader.line_num, cells, "split" in columns) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num} is not CSV: {error}") from error
    times = Counter(row.path for row in rows)
    faults = [f"line {row.line}: {fault}" for row in rows for fault in _faults(row, folder, times)]
    if faults:
        raise DataError("\n  ".join([f"{file}: {len(faults)} faults:", *faults]))
    return rows


def _row(line: int, cells: dict[str, str | None], has_split: bool) -> _Row:
    path, label, split = ((cells.get(column) or "").strip() for column in ("path", "label", "split"))
    return _Row(line, path, label, SPLITS.get(split, split) if has_split else "train")


def _faults(row: _Row, folder: Path, times: Counter[str]) -> list[str]:
    found = []
    if not row.path or not row.label:
        found.append("path or label is empty")
    elif not (folder / row.path).is_file():
        found.append(f"{folder / row.path}: there is no such file")
    if row.split not in SPLITS.values():
        found.append(f"split {row.split!r}{nearest(row.split, SPLITS)}; accepted: {', '.join(SPLITS)}")
    if row.path and times[row.path] > 1:  # one image twice would weigh double, or be trained on and tested
        found.append(f"{row.path} is listed {times[row.path]} times")
    return found


def _classes(labels: list[str]) -> list[str]:
    unique = set(labels)
    return sorted(unique, key=int) if all(label.isdecimal() for label in unique) else sorted(unique)
