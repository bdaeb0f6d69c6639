"""Preprocessing of open_clip models: what open_clip noted on the image tower."""

from __future__ import annotations

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

from open_clip import set_model_preprocess_cfg
from support.text_towers import small_clip
from support.tuned_clips import tuned_clip
from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import nn

from vpt.data import Preprocessing
from vpt.errors import OptionError


def test_where_nothing_is_noted_it_is_open_clips_default() -> None:
    found = Preprocessing.of(small_clip())
    assert found == Preprocessing((16, 16), OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, "bicubic", True)
    assert Preprocessing.of(tuned_clip("coop")) == found
    assert Preprocessing.of(small_clip(), size=(8, 24), std=(1, 1, 1)).size == (8, 24)


@pytest.mark.parametrize(("interpolation", "taken"), [("bilinear", "bilinear"), ("random", "bicubic")])
def test_what_is_noted_counts(interpolation: str, taken: str) -> None:
    clip = small_clip()
    noted = {"size": 16, "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3), "interpolation": interpolation}
    set_model_preprocess_cfg(clip, noted)
    assert Preprocessing.of(clip) == Preprocessing((16, 16), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), taken, True)


def test_an_image_tower_without_a_size_needs_one() -> None:
    clip = small_clip()
    clip.visual.image_size = 24  # as open_clip's ResNets have it
    assert Preprocessing.of(clip).size == (24, 24)
    clip.visual = nn.Linear(1, 1)
    with pytest.raises(OptionError, match="CLIP does not tell its image size"):
        Preprocessing.of(clip)
    assert Preprocessing.of(clip, size=16).mean == pytest.approx(OPENAI_CLIP_MEAN)
