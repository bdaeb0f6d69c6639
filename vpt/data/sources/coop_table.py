"""The datasets by name: where each lies in the usual layout, and what its published split holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vpt.errors import OptionError, unknown


@dataclass(frozen=True)
class CoopDataset:
    """One dataset: under `<root>/<folder>` lie `lists`, which say what is in the split, and images in `images`."""

    name: str
    title: str
    """The column of published results."""

    folder: str
    images: str
    """The folder that paths in `lists` are relative to."""

    lists: str
    classes: int
    sizes: tuple[int, int | None, int]
    """Images to train on, validate and test with in the published split; None where it has no such set."""


_ROWS = (
    # name, title, folder, images, lists, classes, (train, val, test)
    ("imagenet", "ImageNet", "imagenet", "images", "classnames.txt", 1000, (1281167, None, 50000)),
    ("caltech101", "Caltech101", "caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json", 100,
     (4128, 1649, 2465)),
    ("oxford_pets", "OxfordPets", "oxford_pets", "images", "split_zhou_OxfordPets.json", 37, (2944, 736, 3669)),
    ("stanford_cars", "StanfordCars", "stanford_cars", ".", "split_zhou_StanfordCars.json", 196, (6509, 1635, 8041)),
    ("oxford_flowers", "Flowers102", "oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json", 102, (4093, 1633, 2463)),
    ("food101", "Food101", "food-101", "images", "split_zhou_Food101.json", 101, (50500, 20200, 30300)),
    ("fgvc_aircraft", "FGVCAircraft", "fgvc_aircraft", "images", "variants.txt", 100, (3334, 3333, 3333)),
    ("sun397", "SUN397", "sun397", "SUN397", "split_zhou_SUN397.json", 397, (15880, 3970, 19850)),
    ("dtd", "DTD", "dtd", "images", "split_zhou_DescribableTextures.json", 47, (2820, 1128, 1692)),
    ("eurosat", "EuroSAT", "eurosat", "2750", "split_zhou_EuroSAT.json", 10, (13500, 5400, 8100)),
    ("ucf101", "UCF101", "ucf101", "UCF-101-midframes", "split_zhou_UCF101.json", 101, (7639, 1898, 3783)),
)  # fmt: skip

DATASETS: dict[str, CoopDataset] = {row[0]: CoopDataset(*row) for row in _ROWS}
"""Name -> dataset, in the order of the columns of published results."""


def get(name: str) -> CoopDataset:
    """The dataset called `name`, by its name, its title or its folder, in any case, with or without `-` and `_`.

    Raises `OptionError` with the nearest name.
    """
    for dataset in DATASETS.values():
        if _plain(name) in map(_plain, (dataset.name, dataset.title, dataset.folder)):
            return dataset
    raise unknown("dataset of CoOp's", name, DATASETS)


def name_faults(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    """A line where `name` is no dataset's."""
    try:
        if name is None:
            raise OptionError(f"name is missing; accepted: {', '.join(DATASETS)}")
        get(name)
    except OptionError as error:
        yield str(error)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
