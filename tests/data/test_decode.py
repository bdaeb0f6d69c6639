"""Every kind of image is decoded rightly or named in an error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from samples import picture

from vpt.data.decode import decode_file, to_rgb
from vpt.errors import DataError

files = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(Image.fromarray(picture(0)), tmp_path / f"x.{suffix}", **options)
    np.testing.assert_array_equal(decode_file(path), picture(0))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif"])
def test_lossy_formats_come_close(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.fromarray(picture(0)), tmp_path / f"x.{suffix}")
    assert np.abs(decode_file(path).astype(int) - picture(0)).mean() < 10


def test_grey_and_bilevel_repeat_their_channel(tmp_path: Path) -> None:
    grey = picture(1)[:, :, 0]
    decoded = decode_file(saved(Image.fromarray(grey), tmp_path / "grey.png"))
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=2))
    black_white = decode_file(saved(Image.fromarray(grey > 128), tmp_path / "bits.png"))
    np.testing.assert_array_equal(black_white[:, :, 0], np.where(grey > 128, 255, 0))


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(picture(2)).quantize(16)
    np.testing.assert_array_equal(decode_file(saved(image, tmp_path / "x.png")), np.asarray(image.convert("RGB")))


def test_sixteen_bits_keep_their_full_range(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 20 * 30).astype(np.uint16).reshape(20, 30)
    for suffix in ("png", "tif"):
        decoded = decode_file(saved(Image.fromarray(deep), tmp_path / f"x.{suffix}"))
        np.testing.assert_array_equal(decoded[:, :, 1], np.round(deep / 257).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_colour(tmp_path: Path, suffix: str) -> None:
    cv2 = pytest.importorskip("cv2")  # Pillow cannot write these
    cv2.imwrite(str(tmp_path / f"x.{suffix}"), picture(4)[:, :, ::-1].astype(np.uint16) * 257)
    try:
        np.testing.assert_array_equal(decode_file(tmp_path / f"x.{suffix}"), picture(4))
    except DataError as error:  # some Pillow releases do not read them from every format: then they say so
        pytest.skip(str(error))


def test_pixels_without_known_range_are_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif.*no known range"):
        decode_file(path)
    path = saved(Image.fromarray(np.full((4, 4), 70_000, np.int32)), tmp_path / "int.tif")
    with pytest.raises(DataError, match=r"int\.tif.*no known range"):
        decode_file(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_shows_white_and_opaque_shows_itself(tmp_path: Path, mode: str) -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, :15] = 255
    dark = Image.fromarray(np.dstack([np.full((20, 30, 3), 40, np.uint8), alpha]))
    decoded = decode_file(saved(dark.convert(mode), tmp_path / "x.png"))
    assert (decoded[:, :15] == 40).all()
    assert (decoded[:, 15:] == 255).all()


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 2), (0, 0, 0, 128))
    assert (decode_file(saved(image, tmp_path / "x.png")) == 127).all()


def test_a_transparent_grey_value(tmp_path: Path) -> None:
    for name, values in (("8", np.uint8([[10, 20]])), ("16", np.uint16([[2570, 5140]]))):
        path = saved(Image.fromarray(values), tmp_path / f"{name}.png", transparency=int(values[0, 0]))
        assert decode_file(path)[0, :, 0].tolist() == [255, 20]


def test_cmyk(tmp_path: Path) -> None:
    cyan = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), tmp_path / "x.jpg", quality=100)
    assert np.abs(decode_file(cyan).astype(int) - [0, 255, 255]).max() < 6


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = picture(3)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / f"x.{suffix}", exif=exif, quality=95)
    assert np.abs(decode_file(path).astype(int) - upright).mean() < 4
    with Image.open(path) as opened:  # as torchvision hands them over: not loaded yet
        np.testing.assert_array_equal(to_rgb(opened), decode_file(path))


def test_unreadable_exif_does_not_spoil_the_pixels(tmp_path: Path) -> None:
    path = saved(Image.fromarray(picture(3)), tmp_path / "x.png", exif=b"Exif\0\0no tiff at all")
    np.testing.assert_array_equal(decode_file(path), picture(3))


def test_huge_images_are_refused_by_their_header(tmp_path: Path) -> None:
    path = saved(Image.new("L", (300, 200)), tmp_path / "big.png")
    assert decode_file(path, max_pixels=60_000).shape == (200, 300, 3)
    with pytest.raises(DataError, match=r"big\.png: too large: 300 x 200.*59,999"):
        decode_file(path, max_pixels=59_999)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 40_000])
def test_decompression_bombs(tmp_path: Path, side: int) -> None:
    honest = bytearray(encoded("png"))
    honest[16:24] = struct.pack(">II", side, side)  # the size in the header, and its checksum
    honest[29:33] = struct.pack(">I", zlib.crc32(honest[12:29]))
    (tmp_path / "bomb.png").write_bytes(honest)
    with pytest.raises(DataError, match=r"bomb\.png: too large"):
        decode_file(tmp_path / "bomb.png")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"<svg/>"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.jpg"):
        decode_file(tmp_path / "odd.jpg")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(DataError, match="no such file"):
            decode_file(path)


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(5, 40, 60)).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return stream.getvalue()


def pixels_or_error(path: Path) -> np.ndarray | str:
    try:
        return decode_file(path)
    except DataError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@files
@given(suffix=st.sampled_from(["jpg", "png", "webp", "bmp", "gif", "tif", "ppm"]), share=st.floats(0, 0.999))
def test_a_truncated_file_is_named_or_complete(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(encoded(suffix))
    whole = decode_file(path)
    path.write_bytes(encoded(suffix)[: int(share * path.stat().st_size)])
    cut = pixels_or_error(path)
    assert str(path) in cut if isinstance(cut, str) else np.array_equal(cut, whole)  # or only its trailer was cut off


@files
@given(position=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_png_is_named_or_harmless(tmp_path: Path, position: float, bit: int) -> None:
    damaged = bytearray(encoded("png"))
    damaged[int(position * len(damaged))] ^= 1 << bit
    (tmp_path / "x.png").write_bytes(damaged)
    read = pixels_or_error(tmp_path / "x.png")
    assert "x.png" in read if isinstance(read, str) else np.array_equal(read, picture(5, 40, 60))


def test_pillow_set_to_accept_truncated_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="LOAD_TRUNCATED_IMAGES"):
        decode_file(saved(Image.fromarray(picture(0)), tmp_path / "x.png"))


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert decode_file(tmp_path / "x.gif")[0, 0].tolist() == [255, 0, 0]


def test_to_rgb_leaves_the_image_alone() -> None:
    image = Image.new("RGBA", (4, 4), (1, 2, 3, 0))
    to_rgb(image)
    assert image.getpixel((0, 0)) == (1, 2, 3, 0)
