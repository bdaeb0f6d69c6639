"""Where TFDS keeps a prepared dataset, and whether it is the one that VTAB-1K takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt.data.vtab.task import VtabTask
from vpt.errors import DataError, OptionError


@dataclass(frozen=True)
class TfdsFolder:
    """A dataset that TFDS has prepared: its folder, its version, and the true sizes of its splits."""

    folder: Path
    title: str
    version: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    """The names of the feature `label`, where it has some; otherwise empty."""


def find(root: Path, spec: VtabTask) -> TfdsFolder:
    """The dataset of `spec` under TFDS' data folder `root`, in the first readable of the versions with its examples.

    Raises `OptionError` where tensorflow_datasets is not installed; `DataError` where the dataset is not prepared,
    only as tfrecord, or is not VTAB-1K's. Nothing is downloaded.
    """
    tfds = _library()
    place = root / spec.dataset / spec.config
    versions = [v for v in spec.accepted_versions if (place / v / "dataset_info.json").is_file()]
    if not versions:
        raise DataError(_missing(root, place, spec))
    refused = []
    for version in versions:
        try:
            return _opened(tfds, place / version, version, spec)
        except DataError as error:
            refused.append(error)
    raise refused[0]


def _opened(tfds: Any, folder: Path, version: str, spec: VtabTask) -> TfdsFolder:
    """The dataset prepared in `folder`; raises `DataError` where it cannot be read or is not the task's."""
    try:
        info = tfds.builder_from_directory(str(folder)).info
    except Exception as error:  # each damage has its own exception in TFDS
        raise DataError(f"{folder}: not readable as a TFDS dataset: {error}") from error
    formats = {found.value for found in info.available_file_formats()}
    if "array_record" not in formats:
        raise DataError(_unreadable(folder, sorted(formats)))
    if wrong := _faults(info, spec):
        raise DataError("\n  ".join([f"{folder}: is not the {spec.tfds} of VTAB-1K:", *wrong]))
    sizes = {split: info.splits[split].num_examples for split in spec.sizes}
    title = spec.tfds.partition(":")[0]
    return TfdsFolder(folder, f"{title}:{version}", version, sizes, _names(info, spec))


def _library() -> Any:
    try:
        import array_record  # noqa: F401 - asked for here, so that it is not missed halfway
        import tensorflow_datasets
    except ImportError as error:
        raise OptionError(
            f"source 'tfds' needs tensorflow_datasets and array_record ({error}): pip install vpt[tfds]"
        ) from error
    return tensorflow_datasets


def _missing(root: Path, place: Path, spec: VtabTask) -> str:
    there = sorted(path.parent.name for path in place.glob("*/dataset_info.json"))
    others = f"; found are versions {', '.join(there)}, which are others" if there else ""
    by_hand = f"\n  before that, by hand: {spec.manual.replace('<root>', str(root))}" if spec.manual else ""
    name = spec.tfds.partition(":")[0]
    return (
        f"{place}: {spec.title} is not prepared in a version that VTAB-1K takes "
        f"({', '.join(spec.accepted_versions)}){others}; in an environment with tensorflow and tensorflow-datasets run"
        f"\n  tfds build {name} --data_dir={root} --file_format=array_record{by_hand}"
    )


def _unreadable(folder: Path, formats: list[str]) -> str:
    return (
        f"{folder}: is prepared as {', '.join(formats) or 'nothing known'}, which only TensorFlow reads; needed is "
        "array_record. In an environment with tensorflow and tensorflow-datasets run"
        f"\n  tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record"
    )


def _faults(info: Any, spec: VtabTask) -> list[str]:
    found = []
    if info.disable_shuffling or getattr(info, "nondeterministic_order", False):
        found.append("its examples are not in the order of their hashed keys, so that slices hold others")
    for split, counts in spec.sizes.items():
        size = info.splits[split].num_examples if split in info.splits else None
        if size not in counts:
            has = "is not there" if size is None else f"has {size} examples"
            found.append(f"split {split} {has}, wanted are {' or '.join(map(str, counts))}")
    missing = [feature for feature in ("image", *spec.reads) if feature not in info.features]
    if missing:
        found.append(f"no feature {', '.join(missing)}; there are: {', '.join(sorted(info.features))}")
    return found


def _names(info: Any, spec: VtabTask) -> tuple[str, ...]:
    names = tuple(getattr(info.features["label"], "names", None) or ()) if spec.reads == ("label",) else ()
    return names if len(names) == spec.classes else ()
