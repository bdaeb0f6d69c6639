"""Truth from outside: the numbers of CoOp's and CoCoOp's own code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

from support.golden_clip import golden_clip

import vpt

SAME = {"rtol": 0, "atol": 1e-10}


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("kind", ["unified", "specific"])
def test_coop_in_all_forms(kind: str, position: str, path: str) -> None:
    golden = golden_clip("coop")
    form = {key.removeprefix(f"{kind}.{position}."): t for key, t in golden.tensors.items()}
    context = form["param.prompt_learner.ctx"]
    tuned = vpt.tune(
        golden.clip, "coop", classnames=golden.classnames, context_length=4, class_specific=kind == "specific",
        position=position, init=context, path=path,
    )  # fmt: skip
    assert torch.equal(tuned.prompts.tokens, context)
    logits = tuned(golden.tensors["images"])
    F.cross_entropy(logits, golden.tensors["labels"]).backward()
    torch.testing.assert_close(logits, form["logits"], **SAME)
    torch.testing.assert_close(tuned.prompts.tokens.grad, form["grad.prompt_learner.ctx"], **SAME)


@pytest.mark.parametrize("path", ["plain", "fused"])
def test_cocoop(path: str) -> None:
    golden = golden_clip("cocoop")
    form = {key.removeprefix("cocoop."): t for key, t in golden.tensors.items()}
    tuned = vpt.tune(golden.clip, "cocoop", classnames=golden.classnames, context_length=4, path=path)
    learned = {
        name: f"prompt_learner.{name.removeprefix('prompts.').replace('tokens', 'ctx')}" for name in tuned.trainable()
    }
    tuned.load_trained_state({name: form[f"param.{theirs}"] for name, theirs in learned.items()})
    logits = tuned(golden.tensors["images"])
    F.cross_entropy(logits, golden.tensors["labels"]).backward()
    torch.testing.assert_close(logits, form["logits"], **SAME)
    for name, parameter in tuned.trainable().items():
        torch.testing.assert_close(parameter.grad, form[f"grad.{learned[name]}"], **SAME)
