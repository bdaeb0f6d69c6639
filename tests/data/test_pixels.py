"""Preprocessing: explicit, recorded, and the model's own unless told otherwise."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from samples import picture
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vpt.data import Preprocessing
from vpt.errors import OptionError


def test_of_reads_the_model() -> None:
    model = timm.create_model("vit_tiny_patch16_224.augreg_in21k", img_size=64, pretrained=False, num_classes=0)
    found = Preprocessing.of(model)
    assert found == Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3, "bicubic", True)
    tuned = nn.Module()
    tuned.backbone = model
    assert Preprocessing.of(tuned) == found
    changed = Preprocessing.of(model, size=32, interpolation="bilinear", antialias=False)
    assert changed == Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3, "bilinear", False)


def test_of_a_model_without_configuration() -> None:
    tiny = VisionTransformer(img_size=(32, 48), patch_size=16, embed_dim=12, depth=1, num_heads=1)
    assert Preprocessing.of(tiny) == Preprocessing((32, 48))
    tiny.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "interpolation": "bilinear"}
    assert Preprocessing.of(tiny).mean == (0.1, 0.2, 0.3)
    assert Preprocessing.of(tiny).interpolation == "bilinear"
    with pytest.raises(OptionError, match="Linear does not tell its image size"):
        Preprocessing.of(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"size": (1, 2, 3)}, "size="),
        ({"std": (0, 1, 1)}, "std=.*above 0"),
        ({"mean": (0.5,)}, "mean="),
        ({"interpolation": "bicubi"}, "did you mean 'bicubic'"),
        ({"antialias": 1}, "antialias=1"),
        ({"interpolaton": "bicubic"}, "did you mean 'interpolation'"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocessing.from_dict({"size": (8, 8), **fields})


def test_dictionary_round_trip() -> None:
    one = Preprocessing((8, 16), (0.1, 0.2, 0.3), (1, 2, 3), "bilinear", False)
    assert Preprocessing.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def bilinear_by_hand(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Two taps per axis, pixel centres at halves: TensorFlow's resize without antialias, written out."""

    def taps(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, n_in - 1), at - low

    (y0, y1, fy), (x0, x1, fx) = taps(image.shape[0], height), taps(image.shape[1], width)
    rows = image[y0] * (1 - fy)[:, None, None] + image[y1] * fy[:, None, None]
    return rows[:, x0] * (1 - fx)[None, :, None] + rows[:, x1] * fx[None, :, None]


@pytest.mark.parametrize("size", [(7, 11), (40, 33), (20, 60)])
def test_bilinear_without_antialias(size: tuple[int, int]) -> None:
    resized = Preprocessing(size, interpolation="bilinear", antialias=False).resize(picture(0))
    np.testing.assert_allclose(resized, bilinear_by_hand(picture(0).astype(float), *size), atol=0.501)


@pytest.mark.parametrize(
    ("name", "filter"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
@pytest.mark.parametrize("size", [(7, 11), (40, 33)])
def test_antialias_is_pillows(name: str, filter: Image.Resampling, size: tuple[int, int]) -> None:
    resized = Preprocessing(size, interpolation=name).resize(picture(0))
    expected = np.asarray(Image.fromarray(picture(0)).resize(size[::-1], filter)).astype(int)
    assert resized.shape == (*size, 3)
    assert np.abs(resized - expected).max() <= (
        2 if name == "bilinear" else 8
    )  # torch's cubic differs slightly when enlarging


def test_antialias_matters_when_shrinking() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    plain, smooth = (Preprocessing(8, interpolation="bilinear", antialias=a).resize(noise) for a in (False, True))
    assert plain.std() > 2 * smooth.std()


def test_an_image_of_the_right_size_is_untouched() -> None:
    np.testing.assert_array_equal(Preprocessing((20, 30)).resize(picture(0)), picture(0))


def test_normalise_and_call() -> None:
    one = Preprocessing((20, 30), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    image = one(picture(0))
    assert image.shape == (3, 20, 30)
    assert image.dtype == torch.float32
    expected = (picture(0) / 255 - [0.1, 0.2, 0.3]) / [0.5, 1.0, 2.0]
    np.testing.assert_allclose(image.numpy().transpose(1, 2, 0), expected, atol=1e-6)
    batch = torch.from_numpy(np.stack([picture(i) for i in range(2)])).permute(0, 3, 1, 2)
    torch.testing.assert_close(one.normalise(batch)[0], image)
