"""The splits of TFDS as torchvision's files give them: for each of its classes the keys, labels and images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vpt.data.pictures import Files, Pictures
from vpt.data.sources.torchvision_pictures import Recipe, TorchvisionPictures
from vpt.data.vtab.task import VtabTask
from vpt.errors import DataError, OptionError


@dataclass(frozen=True)
class Original:
    """One split: its images in the order of the files, and the keys that TFDS gives them. All of length n."""

    pictures: Pictures
    keys: Sequence[str | int]
    labels: ArrayLike


Read = Callable[[str, str, VtabTask, int], Original]
"""`read(root, split, spec, max_pixels)`: the split, by its name in TFDS."""


def _recipe(root: str, name: str, **arguments: Any) -> Recipe:
    given = ", ".join([repr(root), *(f"{key}={value!r}" for key, value in arguments.items()), "download=True"])
    advice = f"to fetch it, run in Python\n  import torchvision.datasets; torchvision.datasets.{name}({given})"
    return Recipe(name, root, tuple(arguments.items()), download=False, advice=advice)


def _built(recipe: Recipe) -> Any:
    try:
        return recipe.build()
    except ValueError as error:
        raise OptionError(f"torchvision's {recipe.title()}: {error}") from error


def _files(paths: Sequence[str | Path], keys: Sequence[str], labels: ArrayLike, max_pixels: int) -> Original:
    """Image files, read by vpt itself rather than through torchvision: decoded like those of every other source."""
    return Original(Files(tuple(map(str, paths)), max_pixels), keys, labels)


def cifar100(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are positions in the archive. (TFDS reads the binary archive, which lists the same images alike.)"""
    pictures = TorchvisionPictures(_recipe(root, "CIFAR100", train=split == "train"))
    return Original(pictures, range(len(pictures)), pictures.dataset.targets)


def svhn(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are positions in the .mat file; torchvision's labels are the digits already, 10 being 0."""
    pictures = TorchvisionPictures(_recipe(root, "SVHN", split=split))
    return Original(pictures, range(len(pictures)), pictures.dataset.labels)


def pcam(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are the part's name in the files (validation is "valid" there) and the position in it."""
    in_torchvision, in_files = {"validation": ("val", "valid")}.get(split, (split, split))
    pictures = TorchvisionPictures(_recipe(root, "PCAM", split=in_torchvision))
    dataset = pictures.dataset
    targets = dataset._base_folder / dataset._FILES[in_torchvision]["targets"][0]
    with dataset.h5py.File(targets) as file:  # item by item it would open two files for each of them
        labels = np.asarray(file["y"]).reshape(-1).astype(np.int64)
    return Original(pictures, [f"{in_files}_{i}" for i in range(len(pictures))], labels)


def dtd(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are `class/file`, as the lists of the first partition have them; classes are sorted by name."""
    dataset = _built(_recipe(root, "DTD", split={"validation": "val"}.get(split, split), partition=1))
    paths = dataset._image_files
    return _files(paths, [f"{path.parent.name}/{path.name}" for path in paths], dataset._labels, max_pixels)


def flowers(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are the files' names."""
    dataset = _built(_recipe(root, "Flowers102", split={"validation": "val"}.get(split, split)))
    paths = dataset._image_files
    return _files(paths, [path.name for path in paths], dataset._labels, max_pixels)


def pets(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are the files' names; TFDS' train is trainval.txt."""
    dataset = _built(_recipe(root, "OxfordIIITPet", split={"train": "trainval"}.get(split, split)))
    paths = dataset._images
    return _files(paths, [path.name for path in paths], dataset._labels, max_pixels)


def eurosat(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are the files' names after that of their class, which they begin with already; classes sorted by name."""
    dataset = _built(_recipe(root, "EuroSAT"))
    paths = [Path(path) for path, _ in dataset.samples]
    keys = [f"{path.parent.name}_{path.name}" for path in paths]
    return _files(paths, keys, [label for _, label in dataset.samples], max_pixels)


def clevr(root: str, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """Keys are the files' names. torchvision only counts; all else comes from the scenes that it counts in."""
    in_torchvision = {"validation": "val"}.get(split, split)
    dataset = _built(_recipe(root, "CLEVRClassification", split=in_torchvision))
    paths = dataset._image_files
    file = dataset._data_folder / "scenes" / f"CLEVR_{in_torchvision}_scenes.json"
    scenes = {scene["image_filename"]: scene["objects"] for scene in json.loads(file.read_text())["scenes"]}
    names = [path.name for path in paths]
    if list(scenes) != names:  # TFDS pairs them by position
        raise DataError(f"{file}: does not describe the files under {dataset._data_folder}, each once, in their order")
    labels = [spec.label({"objects": {"pixel_coords": [o["pixel_coords"] for o in scenes[name]]}}) for name in names]
    return _files(paths, names, labels, max_pixels)


READERS: dict[str, Read] = {
    "CIFAR100": cifar100,
    "SVHN": svhn,
    "PCAM": pcam,
    "DTD": dtd,
    "Flowers102": flowers,
    "OxfordIIITPet": pets,
    "EuroSAT": eurosat,
    "CLEVRClassification": clevr,
}
"""torchvision's class -> how its files give a split of TFDS."""


def read(root: Path, split: str, spec: VtabTask, max_pixels: int) -> Original:
    """The split of `spec` named so in TFDS; raises `DataError` where it has not TFDS' size, or files are missing."""
    found = READERS[spec.torchvision](str(root), split, spec, max_pixels)
    if len(found.keys) not in spec.sizes[split]:
        wanted = " or ".join(map(str, spec.sizes[split]))
        raise DataError(
            f"{root}: torchvision's {spec.torchvision} has {len(found.keys)} images where TFDS has {wanted} "
            f"in {split}, so that slices would hold others"
        )
    return found


def labels_at(original: Original, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels of the images at `positions`."""
    return np.asarray(original.labels, dtype=np.int64)[positions]
