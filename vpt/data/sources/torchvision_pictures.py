"""One subset of a torchvision dataset as `Pictures`, with its labels and class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vpt.data.decode import Pixels, to_rgb
from vpt.data.pictures import packed, unpacked_pixels
from vpt.errors import DataError, OptionError

# The names under which torchvision's datasets keep what they would otherwise only tell image by image.
_LABELS = ("targets", "labels", "_labels", "y")
_PATHS = ("samples", "_samples", "imgs", "_image_files", "_images")
_CLASSES = ("classes", "categories")


@dataclass(frozen=True)
class Recipe:
    """How to build a torchvision dataset: class name, root, other arguments; `download` is None where it has none.

    advice: what the error says where files are missing that could be downloaded and are not.
    """

    name: str
    root: str | None
    arguments: tuple[tuple[str, Any], ...] = ()
    download: bool | None = None
    advice: str = "download=True lets torchvision fetch it"

    def but(self, **arguments: Any) -> Recipe:
        """The same with further arguments."""
        return replace(self, arguments=(*self.arguments, *arguments.items()))

    def title(self) -> str:
        """E.g. `CIFAR10(train=True)`."""
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments)})"

    def build(self) -> Any:
        """The dataset. Raises ValueError for a value it does not take, `DataError` where its files are not there."""
        import torchvision.datasets

        # Some classes download by default, so the argument is always given.
        extra = {} if self.download is None else {"download": self.download}
        rooted = {} if self.root is None else {"root": self.root}
        try:
            return getattr(torchvision.datasets, self.name)(**rooted, **dict(self.arguments), **extra)
        except ValueError:
            raise
        except Exception as error:  # each class has its own way to say that files are missing
            hint = f"; {self.advice}" if self.download is False else ""
            raise DataError(f"torchvision's {self.title()} is not usable under {self.root}: {error}{hint}") from error


class TorchvisionPictures:
    """The images of a torchvision dataset. Pickled as the recipe, since not every dataset can be pickled."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __getstate__(self) -> dict[str, Any]:
        return {"recipe": replace(self.recipe, download=None if self.recipe.download is None else False)}

    @cached_property
    def dataset(self) -> Any:
        """The torchvision dataset, built when first needed."""
        try:
            return self.recipe.build()
        except ValueError as error:
            raise OptionError(f"torchvision's {self.recipe.title()}: {error}") from error

    def __len__(self) -> int:
        return len(self.dataset)

    def decode(self, i: int) -> Pixels:
        image = self._item(i)[0]
        try:
            return to_rgb(image)
        except Exception as error:  # as in decode.py: a damaged file makes Pillow raise nearly anything
            raise DataError(f"{self.describe(i)}: cannot be decoded: {error}") from error

    def _item(self, i: int) -> Any:
        try:
            return self.dataset[i]
        except Exception as error:  # torchvision hands on whatever its decoder raised
            raise DataError(f"{self.describe(i)}: cannot be decoded: {error}") from error

    def is_labelled(self) -> bool:
        """False for test sets published without labels."""
        return self._item(0)[1] is not None

    def describe(self, i: int) -> str:
        path = self._path(i)
        return f"{self.recipe.title()}[{i}]" if path is None else str(path)

    def content(self, i: int) -> bytes:
        path = self._path(i)
        if path is not None:
            return path.read_bytes()
        return packed(self.decode(i))

    def decode_content(self, i: int, content: bytes) -> Pixels | None:
        return unpacked_pixels(content) if self._path(i) is None else None  # the dataset opens files in its own way

    def _path(self, i: int) -> Path | None:
        for attribute in _PATHS:
            entries = getattr(self.dataset, attribute, None)
            if isinstance(entries, Sequence) and len(entries) == len(self.dataset):
                entry = entries[i][0] if isinstance(entries[i], tuple) else entries[i]
                if isinstance(entry, str | Path) and Path(entry).is_file():
                    return Path(entry)
        return None

    def labels(self) -> NDArray[np.int64]:
        """`int64 [n]`: from the dataset's own list if it agrees with its items, else by asking every item."""
        probes = sorted({0, len(self) // 2, len(self) - 1})
        asked = [self._label(i) for i in probes]
        for attribute in _LABELS:
            kept = np.asarray(getattr(self.dataset, attribute, []))
            if kept.shape == (len(self),) and np.issubdtype(kept.dtype, np.integer) and kept[probes].tolist() == asked:
                return kept.astype(np.int64)
        return np.array([self._label(i) for i in range(len(self))], dtype=np.int64)

    def _label(self, i: int) -> int:
        item = self._item(i)
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Image.Image)):
            raise OptionError(f"torchvision's {self.recipe.title()} does not give pairs of an image and a class")
        try:
            return int(item[1])
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"torchvision's {self.recipe.title()} is no classification dataset with these arguments: "
                f"its target is {type(item[1]).__name__}, not a class"
            ) from error

    def classes(self, labels: NDArray[np.int64]) -> list[str]:
        """The dataset's class names, or the numbers 0 .. max where it has none (or too few)."""
        count = int(labels.max()) + 1
        for attribute in _CLASSES:
            names = getattr(self.dataset, attribute, None)
            if isinstance(names, Sequence) and not isinstance(names, str) and len(names) >= count:
                return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
        return [str(c) for c in range(count)]
