"""Truth from outside: the numbers of the original implementation."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import vpt

GOLDEN = Path(__file__).parents[1] / "golden" / "vpt_original.safetensors"


@pytest.mark.parametrize("method", ["shallow", "deep"])
def test_original_logits_and_gradients(method: str) -> None:
    golden = load_file(GOLDEN)
    backbone = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=4, num_heads=3, num_classes=7
    ).double()
    backbone.load_state_dict({name[8:]: t for name, t in golden.items() if name.startswith("weights.")})
    tuned = vpt.tune(backbone, method, length=5, init=golden[f"{method}.prompts"])
    logits = tuned(golden["images"])
    F.cross_entropy(logits, golden["labels"]).backward()
    torch.testing.assert_close(logits, golden[f"{method}.logits"], rtol=0, atol=1e-10)
    torch.testing.assert_close(tuned.prompts.tokens.grad, golden[f"{method}.prompt_grad"], rtol=0, atol=1e-10)
