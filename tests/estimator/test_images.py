"""What may be given as images, and what is said of all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimator.small import LABELS, classifier, pictures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from vpt.errors import DataError, OptionError
from vpt.estimator import PromptClassifier
from vpt.estimator import classifier as classifier_module
from vpt.estimator.images import pixels

IMAGES = pictures()


@pytest.fixture(scope="module")
def fitted() -> PromptClassifier:
    return classifier().fit(IMAGES, LABELS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The images, each in a file without loss."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{i}.png" for i in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_files_pillow_images_and_arrays_are_the_same_images(fitted: PromptClassifier, files: list[Path]) -> None:
    expected = fitted.predict_proba(IMAGES)
    np.testing.assert_array_equal(fitted.predict_proba(path for path in files), expected)
    opened = [Image.open(file) for file in files]
    objects = np.array([*files, None], object)[:-1]
    for same in (files, [str(f) for f in files], np.array([str(f) for f in files]), objects, opened, list(IMAGES)):
        assert np.array_equal(fitted.predict_proba(same), expected)
    table = IMAGES.reshape(len(IMAGES), -1)
    assert np.array_equal(fitted.set_params(image_shape=(16, 16, 3)).predict_proba(table), expected)
    assert np.array_equal(classifier().fit(files, LABELS).predict_proba(IMAGES), expected)


def test_grey_images_are_images_of_three_equal_channels(fitted: PromptClassifier) -> None:
    grey = IMAGES[..., 0]
    assert np.array_equal(fitted.predict(grey), fitted.predict(np.repeat(grey[..., None], 3, -1)))


def test_images_may_differ_in_size() -> None:
    images = [pictures(2, size)[i % 2] for i, size in enumerate([(16, 16, 3), (20, 9), (40, 31, 3)] * 4)]
    assert set(classifier().fit(images, LABELS).predict(images)) <= set(LABELS)


@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2)),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
)
def test_numbers_between_black_and_white_become_the_nearest_pixels(image: Any, low: float, width: float) -> None:
    high = low + width
    numbers = np.clip(low + image / 255 * (high - low), low, high)
    assert np.array_equal(pixels(numbers, (low, high), "X"), image)


BAD: dict[str, tuple[dict[str, Any], Any, type[Exception], str]] = {
    "floats": ({}, IMAGES / 255, DataError, r"X\[0\] holds float64; without value_range"),
    "whole numbers": ({}, IMAGES.astype(int), DataError, r"X\[0\] holds int64"),
    "beyond white": (
        {"value_range": (0, 1)},
        [*(IMAGES[:11] / 255), IMAGES[0]],
        DataError,
        r"X\[11\] holds .* \(0, 1\)",
    ),
    "NaN": ({"value_range": (0, 1)}, np.full((12, 4, 4), np.nan), DataError, r"X\[0\] holds nan"),
    "NaN in a table": ({"value_range": (0, 1)}, np.full((12, 4), np.nan), ValueError, "contains NaN"),
    "complex": ({"value_range": (0, 1)}, np.zeros((12, 4, 4), complex), DataError, "complex128"),
    "channels first": ({}, IMAGES.transpose(0, 3, 1, 2), DataError, r"X\[0\] is an array \[3, 16, 16\]"),
    "five dimensions": ({}, IMAGES[None], DataError, r"X\[0\] is an array \[12, 16, 16, 3\]"),
    "no pixels": ({}, np.zeros((12, 0, 4), np.uint8), DataError, r"X\[0\] is an array \[0, 4\]"),
    "something else": ({}, [*IMAGES[:11], 3], DataError, r"X\[11\] is int 3"),
    "files among arrays": ({}, [*IMAGES[:11], "x.png"], DataError, r"X\[11\] is str"),
    "no file": ({}, ["x.png"] * 12, DataError, "(?s)12 of 12 images.*x.png: there is no such file"),
    "one name": ({}, "folder", ValueError, "folder"),
    "a table": ({}, np.zeros((12, 64)), OptionError, r"table \[12, 64\] and image_shape is None"),
    "other rows": ({"image_shape": (8, 9)}, np.zeros((12, 64)), OptionError, r"image_shape is \(8, 9\)"),
    "no shape": ({"image_shape": 64}, np.zeros((12, 64)), OptionError, "image_shape is 64"),
    "too few": ({}, IMAGES[:3], ValueError, "inconsistent numbers of samples"),
    "none": ({}, IMAGES[:0], ValueError, "inconsistent numbers of samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_images_that_cannot_be_used_are_named_before_anything_is_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, images, kind, message = BAD[name]
    monkeypatch.setattr(classifier_module, "borrowed", None)
    with pytest.raises(kind, match=message):
        classifier(**changes).fit(images, LABELS)


def test_every_unreadable_file_is_named_before_training_and_before_predicting(
    fitted: PromptClassifier, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(files[0].read_bytes()[:-40])
    given = [*files[:-2], broken, tmp_path / "missing.png"]
    monkeypatch.setattr(classifier_module, "borrowed", None)
    for call in (lambda: classifier().fit(given, LABELS), lambda: fitted.predict(given)):
        with pytest.raises(DataError, match=r"(?s)2 of 12 images.*broken\.png.*missing\.png"):
            call()


def test_a_table_has_as_many_columns_as_at_fit() -> None:
    table = IMAGES.reshape(12, -1)
    fitted = classifier(image_shape=(-1, 16, 3)).fit(table, LABELS)
    assert fitted.n_features_in_ == 768
    with pytest.raises(ValueError, match="X has 48 features, but PromptClassifier is expecting 768"):
        fitted.predict(table[:, :48])
