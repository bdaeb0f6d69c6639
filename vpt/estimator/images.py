"""What scikit-learn calls X, as pictures: files, Pillow images, arrays, or the rows of a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vpt.data.decode import to_rgb
from vpt.data.pictures import Arrays, Files, Pictures
from vpt.errors import DataError, OptionError

ACCEPTED = "paths, or Pillow images and arrays [H, W] or [H, W, 3]"


def kept(given: Any) -> Any:
    """`given`, and a list of what can be looked at only once, such as a generator of paths."""
    return list(given) if isinstance(given, Iterator) else given


def are_pictures(given: Any) -> bool:
    """Whether `given` has a picture in each place, an array `[n, H, W]` or `[n, H, W, 3]` too; else it is a table."""
    dimensions = getattr(given, "ndim", None)
    if dimensions not in (None, 1):
        return bool(dimensions > 2)
    if isinstance(given, str | os.PathLike) or not isinstance(given, Iterable):
        return False
    first = next(iter(given), None)
    return isinstance(first, str | os.PathLike | Image.Image) or (isinstance(first, np.ndarray) and first.ndim > 1)


def rows_as_images(table: NDArray[Any], image_shape: Any) -> NDArray[Any]:
    """A table `[n, F]` as images. Raises `OptionError` where `image_shape` does not say how."""
    accepted = f"the shape (H, W) or (H, W, 3) of the image that is a row of {table.shape[1]} numbers"
    if image_shape is None:
        raise OptionError(f"X is a table {list(table.shape)} and image_shape is None; accepted: {accepted}")
    try:
        return table.reshape(len(table), *image_shape)
    except (TypeError, ValueError) as error:
        raise OptionError(f"image_shape is {image_shape!r}; accepted: {accepted}") from error


def pictures(given: Iterable[Any], value_range: Any) -> Pictures:
    """Pictures that are files, decoded when asked for, or images in memory.

    value_range: see `pixels`. Raises `DataError` naming the first that is neither, and `OptionError` for a range that
    is none.
    """
    items = list(given)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        return Files(tuple(os.fspath(item) for item in items))
    bounds = checked_range(value_range)
    return Arrays("X", [_pixels(item, bounds, f"X[{i}]") for i, item in enumerate(items)])


def checked_range(value_range: Any) -> tuple[float, float] | None:
    """`value_range` if it is one. Raises `OptionError`."""
    if value_range is None:
        return None
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (low < high and np.isfinite(high - low)):
        raise OptionError(f"value_range is {value_range!r}; accepted: (black, white), two numbers, the smaller first")
    return low, high


def _pixels(item: Any, bounds: tuple[float, float] | None, name: str) -> NDArray[np.uint8]:
    if isinstance(item, Image.Image):
        try:
            return to_rgb(item)
        except (ValueError, OSError) as error:
            raise DataError(f"{name} cannot be read: {error}") from error
    if isinstance(item, np.ndarray) and item.ndim in (2, 3) and item.shape[2:] in ((), (3,)) and item.size:
        return pixels(item, bounds, name)
    what = f"an array {list(item.shape)}" if isinstance(item, np.ndarray) else f"{type(item).__name__} {item!r:.60}"
    raise DataError(f"{name} is {what}; accepted: {ACCEPTED}")


def pixels(image: NDArray[Any], bounds: tuple[float, float] | None, name: str) -> NDArray[np.uint8]:
    """An image of any numbers as `uint8`: values from black to white are spread over 0 ... 255 and rounded.

    bounds: (black, white); None for `uint8` as it is. Raises `DataError` for other numbers than that.
    """
    if bounds is None:
        if image.dtype != np.uint8:
            raise DataError(f"{name} holds {image.dtype}; without value_range=(black, white) only uint8 is accepted")
        return image
    low, high = bounds
    if image.dtype.kind not in "biuf" or not (low <= image.min() and image.max() <= high):  # nor is NaN in a range
        held = f"{image.min()} to {image.max()}" if image.dtype.kind in "biuf" else str(image.dtype)
        raise DataError(f"{name} holds {held}; value_range is ({low:g}, {high:g})")
    scaled: NDArray[np.uint8] = np.rint((image.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
    return scaled
