"""From whatever images a caller has to one batch that the model takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vpt.data import Preprocessing
from vpt.data.decode import Pixels, decode_file, to_rgb
from vpt.errors import DataError, OptionError, some

ACCEPTED = "float tensors [3, H, W] as the model takes them, pixels uint8 [H, W, 3], Pillow images, files"


def listed(images: Any) -> Any:
    """Images that can be counted. Raises `OptionError` for one alone, and for what are no images."""
    if isinstance(images, Tensor | np.ndarray | Sequence) and not isinstance(images, str | bytes):
        return images
    if isinstance(images, Iterable) and not isinstance(images, str | bytes | Path | Image.Image):
        return list(images)
    raise OptionError(f"images is a {type(images).__name__}; accepted: [B, 3, H, W], or a list of {ACCEPTED}")


def as_inputs(images: Any, preprocessing: Sequence[Preprocessing]) -> Tensor:
    """`[B, 3, H, W]` of B images, each with its preprocessing where it is not a tensor already.

    Raises `OptionError` and `DataError`.
    """
    if isinstance(images, Tensor):
        batch = images
    else:
        ready = [_as_input(image, i, p) for i, (image, p) in enumerate(zip(images, preprocessing, strict=True))]
        if len({tuple(image.shape) for image in ready}) > 1:
            raise OptionError(f"images of one batch have shapes {some(sorted({tuple(i.shape) for i in ready}))}")
        batch = torch.stack(ready) if ready else torch.empty(0, 3, 1, 1)
    if batch.dim() != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
        raise OptionError(f"images are {batch.dtype} {list(batch.shape)}; accepted: float [B, 3, H, W], or {ACCEPTED}")
    return batch


def check_finite(batch: Tensor) -> None:
    """Raise `DataError` naming the images that hold NaN or infinity."""
    broken = (~batch.flatten(1).isfinite().all(1)).nonzero()[:, 0].tolist()
    if broken:
        raise DataError(f"NaN or infinity in {len(broken)} of {len(batch)} images, by number: {some(broken)}")


def _as_input(image: Any, number: int, preprocessing: Preprocessing) -> Tensor:
    if isinstance(image, Tensor):
        return image
    return preprocessing(_pixels(image, number))


def _pixels(image: Any, number: int) -> Pixels:
    if isinstance(image, str | Path):
        return decode_file(image)
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except (ValueError, OSError) as error:
            raise DataError(f"image {number} cannot be read: {error}") from error
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    given = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
    raise OptionError(f"image {number} is {given}; accepted: {ACCEPTED}")
