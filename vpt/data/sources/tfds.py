"""VTAB-1K's exact splits out of prepared TFDS datasets, read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.sources.options import Count
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.data.vtab.agreement import require
from vpt.data.vtab.slices import Slice
from vpt.data.vtab.table import TASKS, get, name_faults
from vpt.data.vtab.tfds_folder import find
from vpt.data.vtab.tfds_records import Records


@source("tfds", name_faults, lambda root: [*TASKS])
def load(root: Path | None, name: str | None, *, max_pixels: Count = MAX_PIXELS) -> Task:
    """`root` is TFDS' data folder, `name` one of the 19 tasks of VTAB-1K. Nothing is downloaded or prepared.

    Read are array_record files. A slice of them holds the same examples as that slice of the tfrecord files of the
    original experiments: TFDS sorts the examples of a split by the hashes of their keys, whatever the format, cuts the
    sorted examples into consecutive shards, and takes a slice by position over all shards. (Reading tfrecords
    interleaves shards afterwards; that changes the order inside a slice, not what is in it.)
    """
    spec = get(str(name))
    prepared = find(needs_folder("tfds", root), spec)
    classes = prepared.classes or tuple(str(c) for c in range(spec.classes))

    def images(part: str, piece: Slice) -> ImageSet:
        positions = piece.positions(prepared.sizes[piece.split])
        records = Records(str(prepared.folder), prepared.title, piece.split, positions, spec.image, max_pixels)
        labels = [spec.label(example) for example in records.features(spec.reads)]
        return ImageSet(f"{spec.name}/{part}", classes, labels, records, "tfds")

    difference = spec.versions.get(prepared.version)
    notes = [f"unlike in {spec.version}: {difference}"] if difference else []
    task = Task(
        spec.name,
        images("train", spec.train),
        images("val", spec.val),
        images("test", spec.test),
        about="; ".join([f"TFDS' {prepared.title} as array_record", *notes, *spec.caveats]),
        splits={part: f"{prepared.title} {piece}" for part, piece in spec.slices().items()},
    )
    require(task, spec)
    return task
