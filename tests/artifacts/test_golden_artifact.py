"""Artefacts of an earlier version, committed: whatever changes, they load and give the logits that they gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import load, read
from vpt.artifacts.card import card
from vpt.artifacts.load import read_tensors
from vpt.artifacts.schema import CONFIG

GOLDEN = Path(__file__).parents[1] / "golden" / "artifact"
SCHEMAS = {"task": 1, "clip-task": 2, "headless-float16": 3}
"""The committed tasks and the schemas that they are written in."""


def backbone() -> VisionTransformer:
    """The backbone of the committed tasks."""
    found = VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, mlp_ratio=2, num_classes=0)
    found.load_state_dict(load_file(GOLDEN / "backbone.safetensors"))
    return found.eval()


def clip() -> Any:
    """The CLIP of the committed task."""
    from open_clip import CLIP

    text = {"context_length": 40, "vocab_size": 100, "width": 6, "heads": 2, "layers": 1}
    found = CLIP(8, {"image_size": 16, "patch_size": 8, "width": 8, "layers": 1, "head_width": 4}, text)
    found.load_state_dict(load_file(GOLDEN / "clip.safetensors"))
    return found.double().eval()


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


@pytest.mark.parametrize("task", ["task", "headless-float16"])
def test_logits_are_what_they_were(task: str, expected: dict[str, torch.Tensor]) -> None:
    model, images = load(backbone(), GOLDEN / task), expected["images"]
    with torch.no_grad():
        single, double = model(images.float()), model.double()(images)
    torch.testing.assert_close(single, expected[f"{task}.float32"], rtol=0, atol=1e-6)
    torch.testing.assert_close(double, expected[f"{task}.float64"], rtol=0, atol=1e-10)


def test_logits_of_a_clip_are_what_they_were(expected: dict[str, torch.Tensor]) -> None:
    pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")
    from support.small_tokenizer import SmallTokenizer

    model = load(clip(), GOLDEN / "clip-task", tokenizer=SmallTokenizer())
    with torch.no_grad():
        torch.testing.assert_close(model(expected["images"]), expected["clip-task.float64"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("task", SCHEMAS)
def test_every_field_is_read_and_can_be_told(task: str) -> None:
    manifest = read(GOLDEN / task)
    assert json.loads(manifest.to_json()) == json.loads((GOLDEN / task / CONFIG).read_text())
    assert json.loads(manifest.to_json())["schema"] == SCHEMAS[task]
    assert manifest.fingerprint["digest"] in card(manifest)
    assert read_tensors(GOLDEN / task, manifest).keys() == manifest.tensors["shapes"].keys()
