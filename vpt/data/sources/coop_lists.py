"""Which images and labels CoOp's datasets consist of: `split_zhou_*.json`, Aircraft's own lists, ImageNet's folders."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt.data.sources.class_names import read_wordnet_names
from vpt.data.sources.coop_table import CoopDataset
from vpt.data.sources.folder import class_folders, labelled_files
from vpt.data.sources.places import read_text
from vpt.errors import DataError, nearest, some

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Lists:
    """`parts`: train, test and, where the split has one, val -> paths and labels. notes: what is not as published."""

    classes: list[str]
    parts: dict[str, tuple[list[str], list[int]]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    part: str
    path: str
    label: int
    name: str


def read_lists(root: Path, dataset: CoopDataset) -> Lists:
    """The split of `dataset` under `root`. Raises one `DataError` with all that is missing or contradicts itself."""
    file = root / dataset.folder / dataset.lists
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; {dataset.title} needs it, and its images in {file.parent}")
    images = file.parent / dataset.images
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder; the images of {dataset.title} lie there")
    return _READERS.get(dataset.name, _from_json)(file, images)


def _from_json(file: Path, images: Path) -> Lists:
    """`{"train" | "val" | "test": [[path, label, class name], ...]}`."""
    try:
        content: Any = json.loads(read_text(file))
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from error
    _refuse(file, _misshapen(content))
    rows = [_Row(part, *entry) for part in PARTS for entry in content[part]]
    names: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        names[row.label].add(row.name)
    _refuse(file, [*_ambiguous(names), *_unfit(rows, images)])
    return _lists([names[label].pop() for label in sorted(names)], rows, images)


def _aircraft(file: Path, images: Path) -> Lists:
    """`variants.txt` has the classes in the order of labels, `images_variant_<part>.txt` lines of an id and a class."""
    classes = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    rows, faults = [], []
    for part in PARTS:
        own = file.parent / f"images_variant_{part}.txt"
        for number, line in enumerate(read_text(own).splitlines(), 1):
            image, _, name = line.strip().partition(" ")
            if name in classes:
                rows.append(_Row(part, f"{image}.jpg", classes.index(name), name))
            else:
                faults.append(f"{own.name}: line {number}: {name!r} is no variant{nearest(name, classes)}")
    _refuse(file, [*faults, *_unfit(rows, images)])
    return _lists(classes, rows, images)


def _imagenet(file: Path, images: Path) -> Lists:
    """Folders `train` and `val`, the latter to test on, of folders that `classnames.txt` gives names for."""
    folders, by_id = class_folders(images / "train"), read_wordnet_names(file)
    unnamed = [folder for folder in folders if folder not in by_id]
    if unnamed or not folders:
        raise DataError(
            f"{file}: needs a line '<folder> <class name>' for each folder in {images / 'train'}; "
            + (f"it has none for {some(unnamed)}" if unnamed else "there are none")
        )
    classes, notes = _told_apart({folder: by_id[folder] for folder in folders})
    parts = {part: labelled_files(images / own, folders) for part, own in {"train": "train", "test": "val"}.items()}
    return Lists(classes, parts, notes)


_READERS: dict[str, Callable[[Path, Path], Lists]] = {"imagenet": _imagenet, "fgvc_aircraft": _aircraft}

_WORDNET_NAMES = {"n04008634": "projectile", "n04355933": "sunglass"}
"""What WordNet calls the two classes to which the published list gives the names of others."""


def _told_apart(names: dict[str, str]) -> tuple[list[str], tuple[str, ...]]:
    """The names, those of `_WORDNET_NAMES` in place of a name that two classes have, and a note of each change."""
    times = Counter(names.values())
    changed = {key: name for key, name in _WORDNET_NAMES.items() if key in names and times[names[key]] > 1}
    notes = tuple(f"class {key} is called {new!r}, since {names[key]!r} is another's" for key, new in changed.items())
    return list((names | changed).values()), notes


def _lists(classes: list[str], rows: Sequence[_Row], images: Path) -> Lists:
    own = {part: [row for row in rows if row.part == part] for part in PARTS}
    parts = {part: ([str(images / row.path) for row in of], [row.label for row in of]) for part, of in own.items()}
    return Lists(classes, parts)


def _misshapen(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"holds a {type(content).__name__}, not an object with train, val and test"
        return
    for part in PARTS:
        entries = content.get(part)
        if not isinstance(entries, list) or not entries:
            yield f"{part} is no list of images" if part in content else f"{part} is missing"
        elif wrong := [entry for entry in entries if not _is_entry(entry)]:
            yield f"{part}: {len(wrong):,} entries are not [path, label, class name]: {some(wrong)}"


def _is_entry(entry: Any) -> bool:
    match entry:
        case [str(path), int(label), str(name)]:
            return bool(path and name) and not isinstance(label, bool) and label >= 0
    return False


def _ambiguous(names: dict[int, set[str]]) -> Iterator[str]:
    """Labels that no image has though it has higher ones, and labels with several names."""
    if gaps := [label for label in range(len(names)) if label not in names]:
        yield f"{len(names)} labels must be 0 .. {len(names) - 1}: no image has {some(gaps)}"
    for label, own in sorted(names.items()):
        if len(own) > 1:
            yield f"label {label} has several names: {', '.join(sorted(own))}"


def _unfit(rows: Sequence[_Row], images: Path) -> Iterator[str]:
    """Images that are not there, and images that are listed more than once."""
    if missing := [row.path for row in rows if not (images / row.path).is_file()]:
        yield f"{len(missing):,} of {len(rows):,} images are not in {images}: {some(missing)}"
    places: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        places[row.path].append(row.part)
    if repeated := [f"{path} ({', '.join(parts)})" for path, parts in places.items() if len(parts) > 1]:
        yield f"{len(repeated):,} images are listed more than once: {some(repeated)}"


def _refuse(file: Path, faults: Iterator[str] | Sequence[str]) -> None:
    if found := list(faults):
        raise DataError("\n  ".join([f"{file}: {len(found)} faults:", *found]))
