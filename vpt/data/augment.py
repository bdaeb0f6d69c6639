"""Augmentation: presets over albumentations, deterministic in a seed. The only file that imports albumentations."""

from __future__ import annotations

import os
from functools import cached_property
from importlib import metadata
from typing import Any

from vpt.data.decode import Pixels
from vpt.errors import OptionError, unknown

PRESETS = {
    "none": "nothing",
    "flip": "left-right flip of every second image",
    "light": "flip, crop of up to 10% from each border, slight colour shifts",
    "strong": "flip, crop of up to 25% from each border, colour shifts, grey, blur, rotation, erased rectangles",
}
"""The presets and what they do. None of them resizes: that stays with `Preprocessing`."""

VERSION = "2.0.8"


class Augmentation:
    """A preset as a function of image and seed: `augment(image uint8 [H, W, 3], seed) -> uint8 [H', W', 3]`.

    The same image and seed give the same result in every process, whatever was augmented before.
    Raises `OptionError` for an unknown preset, or an albumentations other than the last MIT release.
    """

    def __init__(self, preset: str = "none") -> None:
        if preset not in PRESETS:
            raise unknown("augmentation", preset, PRESETS)
        self.preset = preset
        if preset != "none":
            _checked_import()

    def __repr__(self) -> str:
        return f"Augmentation({self.preset!r})"

    def __reduce__(self) -> tuple[type[Augmentation], tuple[str]]:
        return Augmentation, (self.preset,)  # each worker composes its own transforms

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """The image changed as `seed` (0 .. 2^32 - 1) says."""
        if self.preset == "none":
            return image
        self._compose.set_random_seed(seed)
        changed: Pixels = self._compose(image=image)["image"]
        return changed

    @cached_property
    def _compose(self) -> Any:
        return _checked_import().Compose(_transforms(self.preset))


def _transforms(preset: str) -> list[Any]:
    albumentations = _checked_import()
    flip = albumentations.HorizontalFlip(p=0.5)
    if preset == "flip":
        return [flip]
    if preset == "light":
        return [flip, _crop(0.1), albumentations.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.02, 0.02), p=0.8)]
    return [
        flip,
        _crop(0.25),
        albumentations.Rotate((-15, 15), border_mode=4, p=0.5),  # 4: mirrored border, as cv2 counts them
        albumentations.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.05, 0.05), p=0.8),
        albumentations.ToGray(p=0.1),
        albumentations.GaussianBlur(sigma_limit=(0.1, 1.5), p=0.2),
        albumentations.CoarseDropout(
            num_holes_range=(1, 3), hole_height_range=(0.05, 0.25), hole_width_range=(0.05, 0.25), fill=128, p=0.25
        ),
    ]


def _crop(most: float) -> Any:
    return _checked_import().RandomCropFromBorders(
        crop_left=most, crop_right=most, crop_top=most, crop_bottom=most, p=1
    )


def _checked_import() -> Any:
    """albumentations, if it is the MIT release; its successor is AGPL and goes by the same name on import."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask a server on import
    remedy = f"augmentation needs albumentations=={VERSION} (MIT): pip install albumentations=={VERSION}"
    if _version("albumentationsx"):
        raise OptionError(f"albumentationsx is installed (AGPL, imported as albumentations); uninstall it. {remedy}")
    if (found := _version("albumentations")) != VERSION:
        raise OptionError(f"albumentations is {found or 'not installed'}; {remedy}")
    import albumentations

    return albumentations


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
