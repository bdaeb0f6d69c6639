"""From a file or its bytes to `uint8 [H, W, 3]` RGB, or to a `DataError` that names it. Pillow does the work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from vpt.errors import DataError

Pixels = NDArray[np.uint8]
"""An image: `uint8 [H, W, 3]`, RGB."""

MAX_PIXELS = 89_000_000
"""Largest H × W that is decoded unless the caller says otherwise; just below where Pillow warns of a bomb."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read; a closed list keeps exotic parsers away from untrusted files."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
)
"""File name endings (lower case) of those formats."""

RULES = {
    "grey, palette": "converted to RGB",
    "alpha": "composited over white",
    "cmyk": "converted without colour profile",
    "16-bit grey": "divided by 257, rounded",
    "16-bit colour": "the high byte",
    "float, 32-bit": "refused",
    "exif": "orientation applied",
    "frames": "the first",
}
"""How the cases with more than one answer are decided; part of a run's record and of every cache's key."""

# EXIF orientation -> what turns the stored picture upright; 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The image in a file as RGB `uint8 [H, W, 3]`, by `RULES`.

    Raises `DataError` naming the file where it is missing, no image, truncated, damaged, or larger than `max_pixels`.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with open(path, "rb") as file:
            return _decode(file, str(path), max_pixels)
    except OSError as error:
        raise DataError(f"{path}: {_reason(error)}") from error


def decode_bytes(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The image whose file's content is given, decoded like a file; `name` is what a `DataError` calls it."""
    return _decode(io.BytesIO(content), name, max_pixels)


def to_rgb(image: Image.Image) -> Pixels:
    """An opened Pillow image as RGB `uint8 [H, W, 3]`, by `RULES`; ValueError for modes without a known range."""
    image = _upright(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError("floating point pixels have no known range; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _decode(file: IO[bytes], name: str, max_pixels: int) -> Pixels:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise DataError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True, so truncated images would pass unnoticed; set it to False"
        )
    try:
        return to_rgb(_opened(file, max_pixels))
    except Exception as error:  # a damaged file makes Pillow raise nearly anything: SyntaxError, struct.error, ...
        raise DataError(f"{name}: {_reason(error)}") from error


def _opened(file: IO[bytes], max_pixels: int) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    width, height = image.size  # from the header: nothing is decoded yet
    if width * height > max_pixels:
        raise Image.DecompressionBombError(f"{width} x {height} pixels are more than the limit of {max_pixels:,}")
    if image.format == "PNG":  # Pillow checks the checksums of a PNG only when asked to
        image.verify()
        file.seek(0)
        image = Image.open(file, formats=FORMATS)
    return image


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # Pillow turns TIFFs upright on loading, and forgets the orientation then
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # unreadable EXIF says nothing about orientation, and the pixels are not its fault
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _from_16_bit(image: Image.Image) -> Pixels:
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit integer pixels have no known range; save it with 8 or 16 bits per channel")
    grey = (values + 128) // 257
    transparent = image.info.get("transparency")  # one grey value that stands for "nothing here"
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"too large: {error}"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in a known format (read are {', '.join(FORMATS)})"
    return f"cannot be decoded: {error or type(error).__name__}"
