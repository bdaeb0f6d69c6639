"""Truth from outside: the numbers of CoOp's, CoCoOp's and MaPLe's own code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

from support.golden_clip import golden_clip
from torch import Tensor

import vpt
from vpt.attach import text_fused, text_plain
from vpt.prompts import CoupledTokens

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


def theirs(name: str) -> str:
    """MaPLe's own name of a learned tensor of ours; its deeper text tokens are one tensor here."""
    first, _, rest = name.removeprefix("prompts.visual.projections.").partition(".")
    if name == "prompts.text.tokens":
        return "prompt_learner.ctx"
    return f"prompt_learner.{'proj' if first == '0' else f'compound_prompt_projections.{int(first) - 1}'}.{rest}"


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round what enters the towers as MaPLe's code does: to half precision, image by image and class by class, also in
    float64; all but the context of the first text block.
    """
    put, tokens = text_plain.put, CoupledTokens.forward

    def rounded(into: Tensor, slots: Tensor, context: Tensor) -> Tensor:
        deeper = context.dim() == 2
        return put(into, slots, context.expand(len(into), -1, -1).half().double() if deeper else context)

    def visual(self: CoupledTokens, layer: int, batch: int) -> Tensor:
        return tokens(self, layer, batch).expand(batch, -1, -1).half().double()

    for module in (text_plain, text_fused):
        monkeypatch.setattr(module, "put", rounded)
    monkeypatch.setattr(CoupledTokens, "forward", visual)


@pytest.mark.usefixtures("halved")
@pytest.mark.parametrize("path", ["plain", "fused"])
def test_maple(path: str) -> None:
    golden = golden_clip("maple")
    form = {key.removeprefix("maple."): t for key, t in golden.tensors.items()}

    def deeper(kind: str) -> Tensor:
        return torch.stack([form[f"{kind}.prompt_learner.compound_prompts_text.{i}"] for i in range(2)])

    tuned = vpt.tune(golden.clip, "maple", classnames=golden.classnames, context_length=2, depth=3, path=path)
    names = [name for name in tuned.trainable() if name != "prompts.text.deeper"]
    start = {name: form[f"param.{theirs(name)}"] for name in names} | {"prompts.text.deeper": deeper("param")}
    tuned.load_trained_state(start)
    logits = tuned(golden.tensors["images"])
    F.cross_entropy(logits, golden.tensors["labels"]).backward()
    torch.testing.assert_close(logits, form["logits"], **SAME)
    for name in names:
        torch.testing.assert_close(tuned.get_parameter(name).grad, form[f"grad.{theirs(name)}"], **SAME)
    # computed once for all classes, these gradients are summed before they are rounded, not after
    half = {"rtol": 0, "atol": 2e-3 * float(deeper("grad").abs().max())}
    torch.testing.assert_close(tuned.prompts.text.deeper.grad, deeper("grad"), **(half if path == "fused" else SAME))
