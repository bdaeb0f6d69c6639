"""The cache gives what decoding gives, and is never stale or half written."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import picture, write_folders

from vpt.data import ImageDataset, ImageSet, Preprocessing, load_task, loader
from vpt.data.cache import Cache, key
from vpt.errors import DataError, OptionError


def test_cached_items_equal_decoded_ones(arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Path) -> None:
    plain, cached = ImageDataset(arrays, preprocessing), ImageDataset(arrays, preprocessing, cache=tmp_path)
    for i in range(len(arrays)):
        np.testing.assert_array_equal(cached[i]["image"], plain[i]["image"])
    assert len(pickle.dumps(cached)) < len(pickle.dumps(plain)) + 1000  # the map itself is not pickled
    one, two = (list(loader(cached, 5, shuffle=False, workers=workers)) for workers in (0, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])


def test_an_existing_cache_is_read_not_written(
    arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache.of(arrays, preprocessing, tmp_path)
    monkeypatch.setattr(ImageSet, "decode", lambda *_: pytest.fail("decoded again"))
    assert Cache.of(arrays, preprocessing, tmp_path)[3].shape == (16, 24, 3)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_key_follows_all_that_decides_the_content(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    base = key(arrays, preprocessing)
    for change in ({"size": (24, 16)}, {"interpolation": "bilinear"}, {"antialias": False}):
        assert key(arrays, replace(preprocessing, **change)) != base
    assert key(arrays.subset(range(11)), preprocessing) != base
    assert key(arrays, replace(preprocessing, mean=(0, 0, 0))) == base  # normalised after reading


def test_a_changed_image_is_not_served_from_an_old_cache(preprocessing: Preprocessing, tmp_path: Path) -> None:
    root = write_folders(tmp_path / "images", {"a": 4, "b": 4})
    first = load_task("folder", root).train
    ImageDataset(first, preprocessing, cache=tmp_path / "cache")
    Image.fromarray(picture(99)).save(first.describe(0))
    changed = ImageDataset(load_task("folder", root).train, preprocessing, cache=tmp_path / "cache")
    np.testing.assert_array_equal(changed[0]["image"], preprocessing(picture(99)))


def test_a_damaged_cache_is_written_anew(arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Path) -> None:
    path = Cache.of(arrays, preprocessing, tmp_path).path
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[:-1]):
        path.write_bytes(damaged)
        Cache.of(arrays, preprocessing, tmp_path)
        assert path.read_bytes() == whole


def test_bad_images_are_all_named_and_nothing_is_left(preprocessing: Preprocessing, tmp_path: Path) -> None:
    root = write_folders(tmp_path / "images", {"a": 5, "b": 5})
    images = load_task("folder", root).train
    for i in (0, 3):
        Path(images.describe(i)).write_bytes(b"bad")
    with pytest.raises(DataError, match="2 of 6") as caught:
        Cache.of(images, preprocessing, tmp_path / "cache")
    assert images.describe(0) in str(caught.value)
    assert images.describe(3) in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, f"the disk is full; about {12 * 16 * 24 * 3:,} bytes are needed, "),
        (errno.EACCES, "cannot be wr"),
    ],
)
def test_a_place_that_takes_no_file_is_named(
    arrays: ImageSet,
    preprocessing: Preprocessing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    said: str,
) -> None:
    def refused(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(DataError, match=rf"{tmp_path}/\w+\.npy: {said}"):
        Cache.of(arrays, preprocessing, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_augmented_images_are_not_cached(arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="augment='none', not 'light'"):
        ImageDataset(arrays, preprocessing, "light", cache=tmp_path)


def test_the_mode_follows_the_umask(arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        assert Cache.of(arrays, preprocessing, tmp_path).path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)


def write_and_die(folder: Path) -> None:
    torch.set_num_threads(1)  # as torch does in its own workers: threads do not survive a fork
    images = load_task("embedded", None, "count", train=40).train
    Cache.of(
        images, Preprocessing(16), folder, lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done == 20 else None
    )


def test_a_killed_writer_leaves_no_cache(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("fork").Process(target=write_and_die, args=(tmp_path,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1  # what it had written so far, under a name that is never read
    images = load_task("embedded", None, "count", train=40).train
    cache = Cache.of(images, Preprocessing(16), tmp_path)
    np.testing.assert_array_equal(cache[39], Preprocessing(16).resize(images.decode(39)))
