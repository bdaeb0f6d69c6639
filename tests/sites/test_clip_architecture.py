"""What a saved task says of the CLIP it is bound to, beside the tensors."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
from support.text_towers import TOWERS, small_clip

from vpt.sites.fingerprint import architecture

TEXT = {"context_length": 20, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}


@pytest.mark.parametrize("tower", TOWERS)
def test_every_kind_of_text_tower_is_told_and_is_json(tower: str) -> None:
    facts = architecture(small_clip(tower))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["family"] == "open_clip"
    assert facts["text heads"] in (2, 3)
    assert facts["text causal"] is not TOWERS[tower][1].get("no_causal_mask", False)


def test_kinds_of_text_towers_differ() -> None:
    facts = [json.dumps(architecture(small_clip(name))) for name in ("flat", "flat, not causal", "flat, eos", "text")]
    assert len(set(facts)) == len(facts)


@pytest.mark.parametrize(
    ("vision", "known"),
    [
        (
            {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8},
            {"class": "VisionTransformer", "size": [16, 16], "depth": 2, "heads": 2, "pooling": "tok",
             "activation": "GELU", "normalised after pooling": False},
        ),
        (
            {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160},
            {"class": "VisionTransformer", "size": [160, 160], "depth": 6, "heads": 2, "activation": "GELU"},
        ),
        (
            {"layers": [1, 1, 1, 1], "width": 4, "head_width": 16, "image_size": 32},
            {"class": "ModifiedResNet", "size": [32, 32], "depth": 0, "heads": 8, "activation": None},
        ),
    ],
)  # fmt: skip
def test_image_towers(vision: dict[str, Any], known: dict[str, Any]) -> None:
    facts = architecture(open_clip.CLIP(64, vision_cfg=vision, text_cfg=TEXT))
    assert {key: facts[f"image {key}"] for key in known} == known
