"""`ImageDataset`: an `ImageSet` as a torch dataset, decoded, augmented, resized and normalised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vpt.data.augment import Augmentation
from vpt.data.cache import Cache
from vpt.data.decode import Pixels
from vpt.data.imageset import ImageSet, Progress
from vpt.data.loader import mix
from vpt.data.pixels import Preprocessing
from vpt.errors import OptionError


class ImageDataset(Dataset[dict[str, Any]]):
    """Items are `{"image": float32 [3, H, W], "label": int, "index": int}`, the same in any process and order.

    `augment` is a preset's name or an `Augmentation`; what it does to image i in epoch e depends on (seed, e, i) alone.
    `cache` is a folder for the decoded and resized images; it is filled on construction (`progress` is told) and
    accepted only without augmentation. Raises `DataError` for images that cannot be decoded, never skips one.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        augment: str | Augmentation = "none",
        seed: int = 0,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        done = images.resized()
        if done not in (None, preprocessing.resizing()):
            raise OptionError(f"{images.name}: prepared with {done}, asked for with {preprocessing.resizing()}")
        self.images = images
        self.preprocessing = preprocessing
        self.augment = augment if isinstance(augment, Augmentation) else Augmentation(augment)
        if seed < 0:
            raise OptionError(f"seed {seed} is negative; accepted: 0, 1, 2, ...")
        self.seed = seed
        if cache is not None and self.augment.preset != "none":
            raise OptionError(
                f"a cache holds unchanged images: use it with augment='none', not {self.augment.preset!r}"
            )
        self.cache = None if cache is None else Cache.of(images, preprocessing, Path(cache), progress)
        # In shared memory, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch that augmentation and order are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Moves to another epoch, in running workers too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> Pixels:
        """Image `index` as `uint8 [H, W, 3]` at the model's size, augmented."""
        if self.cache is not None:
            return self.cache[index]
        return self.preprocessing.resize(self.augment(self.images.decode(index), mix(self.seed, self.epoch, index)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = torch.from_numpy(self.pixels(index)).permute(2, 0, 1)
        image = self.preprocessing.normalise(pixels).contiguous()
        return {"image": image, "label": int(self.images.labels[index]), "index": index}
