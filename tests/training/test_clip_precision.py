"""Every method on CLIP trains in half precision without a number that is not finite."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
import torch.nn.functional as F
from support.small_tokenizer import SmallTokenizer
from support.visual_towers import images_of, visual_clip

import vpt
from vpt.methods import names
from vpt.methods.method import describe
from vpt.training import FitConfig
from vpt.training.guide import follow, guide_gradients

STEPS = int(os.environ.get("VPT_PRECISION_STEPS", "12"))
"""Steps per method; VPT_PRECISION_STEPS=500 for the long run."""

METHODS = [name for name in names("open_clip") if describe(name, "open_clip").build.__module__.startswith("vpt.")]
NAMES = ["cat", "sea lion", "go-kart", "x"]
FIXED = ("zero_shot", "tip_adapter")  # nothing is trained
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"words": "an x"} for name in ("ivlp", "maple")},
    "promptsrc": {"words": "an x of no", "templates": "a {}."},
}


def start(method: str, clip: Any) -> vpt.methods.TunedClip:
    options = dict(OPTIONS.get(method, {}))
    if method.startswith("tip_adapter"):
        options |= {"support_images": images_of(clip, 8), "support_labels": torch.arange(8) % len(NAMES)}
    return vpt.tune(clip, method, classnames=NAMES, tokenizer=SmallTokenizer(), **options)


def small(dtype: torch.dtype, how: str = "towers") -> Any:
    """A CLIP whose scale is that of a trained one, 100."""
    precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}
    mixed = how == "mixed towers"
    clip = visual_clip("class token", precision=precision[dtype]) if mixed else visual_clip("class token").to(dtype)
    with torch.no_grad():
        clip.logit_scale.fill_(4.6052)
    return clip


@pytest.mark.parametrize("how", ["autocast", "towers", "mixed towers"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_no_method_leaves_the_finite_numbers(method: str, dtype: torch.dtype, how: str) -> None:
    """how: "autocast" of float32 towers, or "towers" that are in half precision themselves, or all that multiplies
    in them is ("mixed towers", as open_clip makes them).
    """
    tuned = start(method, small(torch.float32 if how == "autocast" else dtype, how)).train()
    assert tuned.input_dtype == (torch.float32 if how == "autocast" else dtype)
    trained = tuned.trainable()
    if method in FIXED:
        assert not trained
        return
    assert {p.dtype for p in trained.values()} == {torch.float32}, "masters stay in float32"
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    losses: list[float] = []
    for step in range(STEPS):
        images = torch.randn(6, 3, 16, 16, generator=generator)
        with torch.autocast("cpu", dtype, enabled=how == "autocast"):
            logits = tuned(images if how == "autocast" else images.to(dtype))
            assert logits.dtype == torch.float32
            loss = F.cross_entropy(logits, torch.arange(6) % len(NAMES))
            extra, guide = tuned.regulariser(), tuned.guide()
        optimizer.zero_grad()
        guides = None if guide is None else guide_gradients(guide, trained.values())
        (loss if extra is None else loss + extra).backward()
        if guides is not None:
            follow(trained.values(), guides)
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in trained.values()), f"gradient, step {step}"
        optimizer.step()
        losses.append(loss.item())
        assert math.isfinite(losses[-1]), f"loss, step {step}"
    assert all(torch.isfinite(p).all() for p in trained.values())
    assert losses[-1] != losses[0], "nothing was learned"


class Pictures:
    """8 images in float32, as `fit` and `evaluate` read them."""

    def __init__(self) -> None:
        self.pixels = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.pixels[index], "label": index % len(NAMES), "index": index}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["coop", "maple", "tip_adapter"])
def test_mixed_towers_are_given_images_as_they_take_them(method: str, precision: str) -> None:
    tuned = start(method, visual_clip("class token", precision=precision))
    assert next(tuned.parameters()).dtype == torch.float32
    config = FitConfig(epochs=1, batch_size=4, tensorboard=False)
    if method not in FIXED:
        assert math.isfinite(vpt.fit(tuned, Pictures(), Pictures(), config, quiet=True).history[0]["val_loss"])
    found = vpt.evaluate(tuned, Pictures(), batch_size=8).loss
    with torch.no_grad():
        logits = tuned.eval()(Pictures().pixels.to(tuned.backbone.visual.conv1.weight.dtype)).double()
    assert found == pytest.approx(float(F.cross_entropy(logits, torch.arange(8) % len(NAMES))), rel=1e-12)
