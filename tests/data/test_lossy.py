"""What the first bytes of a file tell of its compression, as Pillow writes it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features
from samples import picture

from vpt.data.lossy import HEAD, is_lossy

SEEN = Image.fromarray(picture(0))
OPAQUE = Image.fromarray(np.dstack([picture(0), picture(1)[:, :, :1]]))  # with a plane of opacity
PROFILE: dict[str, Any] = {"icc_profile": bytes(3001)}
EXIF: dict[str, Any] = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}
MOVING: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(picture(2))]}

CASES = [
    *[("jpeg", SEEN, {}, True), ("jpeg", SEEN, PROFILE, True), ("png", SEEN, {}, False), ("bmp", SEEN, {}, False)],
    *[("webp", image, options, True) for image in (SEEN, OPAQUE) for options in ({}, PROFILE, EXIF, MOVING)],
    *[
        ("webp", image, {**options, "lossless": True}, False)
        for image in (SEEN, OPAQUE)
        for options in ({}, PROFILE, EXIF, MOVING)
    ],
]


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow was built without WebP")
@pytest.mark.parametrize(("kind", "image", "options", "lossy"), CASES)
def test_it_is_told_as_pillow_wrote_it(kind: str, image: Image.Image, options: dict[str, Any], lossy: bool) -> None:
    file = io.BytesIO()
    image.save(file, kind, **options)
    assert is_lossy(file.getvalue()[:HEAD]) == lossy


@given(st.binary(max_size=60), st.sampled_from([b"", b"RIFF....WEBP", b"RIFF....WEBPVP8X\x0a\0\0\0"]))
def test_any_bytes_are_answered(rest: bytes, begin: bytes) -> None:
    assert is_lossy(begin + rest) in (True, False)
