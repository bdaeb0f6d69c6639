"""Any torchvision classification dataset by name, e.g. `load_task("torchvision", "data", "CIFAR10")`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vpt.data.imageset import ImageSet
from vpt.data.sources.options import Flag, Fraction, Seed
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source, task_options
from vpt.data.sources.torchvision_pictures import Recipe, TorchvisionPictures
from vpt.data.split import complete
from vpt.data.task import Task
from vpt.errors import DataError, OptionError, nearest, unknown

# Values of `split=` in the order of preference. A "val" that serves as test is not used as validation set again.
_SPLITS = {
    "train": ("train", "trainval", "train-standard"),
    "test": ("test", "val"),
    "val": ("val", "valid", "validation"),
}
_OWN = ("self", "root", "transform", "target_transform", "transforms", "loader", "download", "is_valid_file")


def _check(name: str | None, further: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the dataset's name and of the arguments that go to its class."""
    try:
        accepted = parameters(name)
    except OptionError as error:
        yield str(error)
        return
    free = [n for n in accepted if n not in _OWN and n != "train"]
    own = ["download", "val_fraction", "test_fraction", "split_seed", *task_options()]
    wrong = [f"{option!r}{nearest(option, free + own)}" for option in further if option not in free]
    if wrong:
        yield f"torchvision's {name} has no option {', '.join(wrong)}; accepted: {', '.join(free + own)}"
    subset = [] if "train" in accepted else ["split"]  # that one is ours to set
    missing = [n for n in free if accepted[n].default is inspect.Parameter.empty and n not in [*further, *subset]]
    if missing:
        yield f"torchvision's {name} also needs: {', '.join(missing)}"


@source("torchvision", _check)
def load(
    root: Path | None,
    name: str | None,
    *,
    download: Flag = False,
    val_fraction: Fraction = 0.2,
    test_fraction: Fraction = 0.2,
    split_seed: Seed = 0,
    **arguments: Any,
) -> Task:
    """The dataset class `name` of `torchvision.datasets`; nothing is downloaded unless `download=True`.

    Subsets come from its `train=` or `split=` argument; what it lacks is held out, stratified. `arguments` go to the
    class (`split="letters"` for EMNIST, `target_type="identity"` for CelebA, `size=100` for FakeData).
    """
    accepted = parameters(name)
    folder = str(needs_folder("torchvision", root)) if "root" in accepted else None
    base = Recipe(str(name), folder, tuple(arguments.items()), download if "download" in accepted else None)
    parts = _parts(base, accepted)
    classes = parts["train"].classes
    sets = {part: _relabelled(images, classes) for part, images in parts.items()}
    return complete(
        str(name),
        sets["train"],
        sets.get("val"),
        sets.get("test"),
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        about=f"torchvision.datasets.{name}",
    )


def parameters(name: str | None) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, those that it hands on to its base classes included."""
    import torchvision.datasets as library

    known = {n: getattr(library, n) for n in library.__all__}
    known = {n: c for n, c in known.items() if inspect.isclass(c) and issubclass(c, library.VisionDataset)}
    if name not in known:
        raise unknown("torchvision dataset", str(name), known)
    if known[name] in (library.VisionDataset, library.DatasetFolder, library.ImageFolder):
        raise OptionError(f"{name} has no data of its own; use source='folder' for a folder per class")
    found: dict[str, inspect.Parameter] = {}
    for cls in known[name].__mro__:
        if "__init__" not in cls.__dict__:
            continue
        own = inspect.signature(cls.__init__).parameters
        found = {**own, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return {n: p for n, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _parts(base: Recipe, accepted: dict[str, inspect.Parameter]) -> dict[str, ImageSet]:
    """The subsets that the dataset has: always "train", and "test" and "val" where it knows them."""
    if "train" in accepted:
        return {part: _images(TorchvisionPictures(base.but(train=part == "train"))) for part in ("train", "test")}
    if "split" not in accepted or "split" in dict(base.arguments):
        return {"train": _images(TorchvisionPictures(base))}
    found: dict[str, ImageSet] = {}
    used: set[str] = set()
    for part, values in _SPLITS.items():
        for value, pictures in _accepting(base, [v for v in values if v not in used]):
            if pictures.is_labelled():
                found[part] = _images(pictures)
                used.add(value)
                break
    if "train" not in found:
        found["train"] = _images(TorchvisionPictures(base.but(split="train")))  # raises what torchvision has to say
    return found


def _accepting(base: Recipe, values: list[str]) -> Iterator[tuple[str, TorchvisionPictures]]:
    """The subsets for those values of `split=` that the dataset takes."""
    for value in values:
        pictures = TorchvisionPictures(base.but(split=value))
        try:
            len(pictures)  # builds it
        except OptionError:
            continue
        yield value, pictures


def _images(pictures: TorchvisionPictures) -> ImageSet:
    labels = pictures.labels()
    name = pictures.recipe.name
    return ImageSet(pictures.recipe.title(), pictures.classes(labels), labels, pictures, f"torchvision:{name}")


def _relabelled(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The same images with the training set's classes; others are accepted only where they are counted from labels."""
    if images.classes != classes and not all(c.isdecimal() for c in images.classes):
        raise DataError(f"{images.name}: has other classes than the training set")
    return images.with_classes(classes)
