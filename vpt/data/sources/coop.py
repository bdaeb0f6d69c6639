"""The 11 datasets of CoOp's few-shot experiments (arXiv:2109.01134), split as published, from the user's folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vpt.data.decode import MAX_PIXELS
from vpt.data.imageset import ImageSet
from vpt.data.pictures import Files
from vpt.data.sources.coop_lists import PARTS, Lists, read_lists
from vpt.data.sources.coop_table import DATASETS, CoopDataset, get, name_faults
from vpt.data.sources.options import Count, Fraction, Seed
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source
from vpt.data.split import hold_out
from vpt.data.task import Task


def _tasks(root: Path | None) -> list[str]:
    """The datasets whose lists lie under `root`."""
    folder = needs_folder("coop", root)
    return [name for name, dataset in DATASETS.items() if (folder / dataset.folder / dataset.lists).is_file()]


@source("coop", name_faults, _tasks)
def load(
    root: Path | None,
    name: str | None,
    *,
    val_fraction: Fraction = 0.02,
    split_seed: Seed = 0,
    max_pixels: Count = MAX_PIXELS,
) -> Task:
    """`name` is one of the 11, by its name, its title or its folder; `root` is the folder in which theirs lie.

    The layout is the usual one: `root/<folder>/split_zhou_<Name>.json` beside the folder of images; FGVCAircraft has
    its own lists; ImageNet has `classnames.txt` and `images/{train,val}/<class>/`, of which `val` is the test set.
    ImageNet's own split has no validation images: `val_fraction` of each training class is held out by `split_seed`.
    In what a dataset differs from the published numbers stands in the task's `deviations`.
    """
    dataset = get(str(name))
    lists = read_lists(needs_folder("coop", root), dataset)
    sets = {
        part: ImageSet(f"{dataset.name}/{part}", lists.classes, labels, Files(tuple(paths), max_pixels), "coop")
        for part, (paths, labels) in lists.parts.items()
    }
    splits = dict.fromkeys(sets, f"as published for {dataset.title}")
    if "val" not in sets:
        sets["train"], held = hold_out(sets["train"], val_fraction, split_seed, "val")
        sets["val"] = held.named(f"{dataset.name}/val")
        splits["val"] = f"{val_fraction} of each class of train, seed {split_seed}; the published split has none"
    return Task(
        dataset.name,
        sets["train"],
        sets["val"],
        sets["test"],
        about=f"{dataset.title} as in CoOp's few-shot experiments",
        splits=splits,
        deviations=(*lists.notes, *_deviations(dataset, lists)),
    )


def _deviations(dataset: CoopDataset, lists: Lists) -> Iterator[str]:
    """A line per number that is not the published one."""
    if len(lists.classes) != dataset.classes:
        yield f"there are {len(lists.classes)} classes, the published split has {dataset.classes}"
    for part, size in zip(PARTS, dataset.sizes, strict=True):
        listed = len(lists.parts[part][0]) if part in lists.parts else None
        if listed != size:
            yield f"{part} has {listed} images, the published split {size}"
