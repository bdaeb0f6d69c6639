"""LoRA and other adapters, by Hugging Face peft: what they compute, and the promises that they keep as prompts do."""

from __future__ import annotations

import copy
import math
import pickle
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.extras import needs_peft
from support.matrix import VARIANTS, images, small
from test_public import loaded
from torch import nn

import vpt
from vpt.artifacts.save import fingerprint_of, fingerprint_of_backbone
from vpt.errors import ArtifactError, OptionError
from vpt.methods import describe, names
from vpt.methods.peft import KINDS
from vpt.methods.peft_layers import wrap

VIT, BEIT, EVA, APART = "flexivit_base", "beit, both biases", "mixed rotary", "eva02_base_patch14_224"
METHODS = [("lora", {}), ("lora", {"dora": True}), *(("adapter", {"kind": kind}) for kind in KINDS)]


def moved(backbone: nn.Module, method: str = "lora", **options: object) -> vpt.Tuned:
    """A tuned model whose every trained tensor has moved, in eval."""
    tuned = vpt.tune(backbone, method, **options)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in tuned.trainable().values():
            tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype), alpha=0.05)
    return tuned.eval()


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- without peft ---------------------------------------------------------------------------------


def test_peft_is_not_imported_before_an_adapter_is_asked_for() -> None:
    assert {"lora", "adapter"} <= set(names())
    assert set(describe("lora").options) >= {"rank", "alpha", "dropout", "targets", "layers"}
    tuning = "import vpt, timm; from vpt.methods import names; names(); vpt.load; vpt.fit; "
    tuning += "vpt.tune(timm.create_model('vit_tiny_patch16_224', depth=1), 'deep')"
    assert not loaded(tuning) & {"peft", "transformers"}


def test_without_peft_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = small(VIT)
    monkeypatch.setitem(sys.modules, "peft", None)
    for method in ("lora", "adapter"):
        with pytest.raises(OptionError, match=re.escape("pip install 'vpt[peft]'")):
            vpt.tune(backbone, method)
    vpt.tune(backbone, "deep")  # the model is as it was


# --- what they compute ----------------------------------------------------------------------------


@needs_peft
@pytest.mark.parametrize("options", [{}, {"alpha": 3.0}, {"alpha": 3.0, "rslora": True}, {"dora": True}])
@pytest.mark.parametrize("variant", [VIT, BEIT, EVA, APART, "vit_base_patch16_xp_224"])
def test_lora_is_the_backbone_with_other_weights(variant: str, options: dict[str, object]) -> None:
    tuned = moved(small(variant), rank=4, targets="all", **options)
    x = images(tuned.backbone)
    got, adapters, head = tuned(x), tuned.learned.adapters, tuned.backbone.head
    plain = tuned.detach()
    scale = float(options.get("alpha", 4)) / (math.sqrt(4) if "rslora" in options else 4)
    with torch.no_grad():
        for name, layer in adapters.items():
            weight = plain.get_submodule(name).weight
            weight += scale * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            if "dora" in options:
                weight *= (layer.lora_magnitude_vector["default"].weight / weight.norm(dim=1)).unsqueeze(1)
        plain.head = head
        torch.testing.assert_close(got, plain(x), rtol=1e-8, atol=1e-8)


@needs_peft
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_adapter_of_every_kind_of_model_takes_part(variant: str) -> None:
    backbone = small(variant)
    x, linears = images(backbone), [m for m in backbone.blocks.modules() if isinstance(m, nn.Linear)]
    expected = backbone(x)
    started = vpt.tune(backbone, "lora", rank=2, targets="all")
    assert len(started.learned.adapters) == len(linears)
    torch.testing.assert_close(started(x), expected, rtol=1e-9, atol=1e-9)  # EVA and BEiT add a bias after, not within
    started.detach()
    tuned = moved(backbone, rank=2, targets="all")
    tuned(x).square().sum().backward()
    for name, parameter in tuned.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name
    assert {n for n, p in tuned.named_parameters() if p.requires_grad} == set(tuned.trainable())


@needs_peft
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_every_kind_keeps_the_promises(method: str, options: dict[str, object], tmp_path: Path) -> None:
    backbone = small(BEIT)
    x, before, modules = images(backbone), tensors(backbone), dict(backbone.named_modules())
    expected, fingerprint = backbone(x), fingerprint_of_backbone(backbone)
    backbone.train().blocks[0].requires_grad_(False)
    attributes = {name: sorted(module.__dict__) for name, module in modules.items()}

    started = vpt.tune(backbone, method, **options).eval()
    torch.testing.assert_close(started(x), expected, rtol=1e-9, atol=1e-9)
    started.detach()
    tuned = moved(backbone, method, num_classes=4, head_init="normal", **options)
    assert not torch.allclose(tuned(x), vpt.tune(small(BEIT), "linear", num_classes=4, head_init="normal")(x))
    assert {p.dtype for p in tuned.parameters()} == {torch.float64}
    assert fingerprint_of(tuned) == fingerprint

    vpt.save(tuned, tmp_path)
    again = vpt.load(small(BEIT), tmp_path)
    assert torch.equal(again(x), tuned(x))
    assert same(again.trained_state(), tuned.trained_state())
    twin, stored = copy.deepcopy(tuned), pickle.loads(pickle.dumps(tuned))
    for other in (twin, stored):
        assert torch.equal(other(x), tuned(x))
        assert same(tensors(other.detach()), before)

    assert tuned.detach() is backbone
    assert dict(backbone.named_modules()) == modules, "the very same modules"
    assert {name: sorted(module.__dict__) for name, module in modules.items()} == attributes
    assert same(tensors(backbone), before)
    assert all(module.training for module in modules.values())
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"blocks.0.{name}" for name, _ in backbone.blocks[0].named_parameters()}


# --- what is learned ------------------------------------------------------------------------------


@needs_peft
def test_summary_counts_the_thin_matrices() -> None:
    backbone = small(VIT)
    own = sum(p.numel() for name, p in backbone.named_parameters() if not name.startswith("head."))
    trained = 3 * 5 * (48 + 3 * 48) + 48 * 4 + 4
    line = vpt.tune(backbone, "lora", rank=5, num_classes=4).summary().splitlines()[-1]
    assert line.startswith(f"trainable params: {trained:,} || all params: {own + trained:,} ||")


@needs_peft
@pytest.mark.parametrize(
    ("variant", "projections"),
    [
        (VIT, {"attn.qkv"}), (APART, {"attn.q_proj", "attn.v_proj"}), ("vit_base_patch16_xp_224", {"in_proj"}),
        ("vit_base_patch16_18x2_224", {"attns.0.attn.qkv", "attns.1.attn.qkv"}),
    ],
)  # fmt: skip
def test_by_default_queries_and_values_are_adapted(variant: str, projections: set[str]) -> None:
    adapters = vpt.tune(small(variant), "lora").learned.adapters
    assert set(adapters) == {f"blocks.{layer}.{name}" for layer in range(3) for name in projections}


@needs_peft
@given(
    layers=st.sets(st.integers(0, 2)).map(sorted),
    targets=st.sets(st.sampled_from(["qkv", "attn.proj", "fc1", "mlp.fc2", "proj"]), min_size=1).map(sorted),
)
@settings(max_examples=15, deadline=None)
def test_layers_and_targets_name_what_learns(layers: list[int], targets: list[str]) -> None:
    tuned = vpt.tune(small(VIT), "lora", rank=1, layers=layers, targets=targets)
    full = {"qkv": "attn.qkv", "fc1": "mlp.fc1", "proj": "attn.proj"}
    expected = {f"backbone.blocks.{i}.{full.get(target, target)}" for i in layers for target in targets}
    learned = {name.partition(".lora_")[0] for name in tuned.trainable() if ".lora_" in name}
    assert learned == expected
    rest = {name for name in tuned.trainable() if ".lora_" not in name}
    assert rest == {"backbone.head.weight", "backbone.head.bias"}


@needs_peft
def test_the_seed_decides_and_no_global_state_is_touched() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    one, again, other = (tensors(vpt.tune(small(VIT), "lora", seed=seed)) for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


@needs_peft
def test_dropout_is_in_the_adapters_alone() -> None:
    tuned = moved(small("drop rates"), dropout=0.5)
    x = images(tuned.backbone)
    assert torch.equal(tuned(x), tuned(x))
    tuned.train()
    assert not torch.allclose(tuned(x), tuned(x))
    training = {name for name, module in tuned.backbone.named_modules() if module.training}
    assert all(name == "head" or re.match(r"blocks\.\d\.attn\.qkv(\.lora_|$)", name) for name in training)
    assert "blocks.2.attn.qkv.lora_dropout.default" in training
    with torch.no_grad():
        for adapter in tuned.learned.adapters.values():
            adapter.lora_B["default"].weight.zero_()
    assert torch.equal(tuned(x), tuned(x)), "a frozen module's own dropout is active"


@needs_peft
def test_a_failure_while_attaching_or_running_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = small(BEIT)
    modules, before, x = dict(backbone.named_modules()), tensors(backbone), images(backbone)
    swap = vpt.attach.Attachment.swap

    def failing(self: object, module: nn.Module, name: str, child: nn.Module) -> None:
        if module is backbone.blocks[1].attn:
            raise MemoryError
        swap(self, module, name, child)

    with monkeypatch.context() as patch:
        patch.setattr(vpt.attach.Attachment, "swap", failing)
        with pytest.raises(MemoryError):
            vpt.tune(backbone, "lora")
    tuned = vpt.tune(backbone, "lora")
    with pytest.raises(Exception, match=r".+"):
        tuned(x[:, :, :5])
    tuned.detach()
    assert dict(backbone.named_modules()) == modules
    assert same(tensors(backbone), before)
    assert not backbone.blocks[0].attn.qkv_bias_separate


@needs_peft
def test_a_cast_reaches_adapters_and_what_detach_gives_back() -> None:
    backbone = small(VIT).float()
    tuned = moved(backbone, targets="all")
    x = images(backbone)
    expected = tuned(x.float())
    torch.testing.assert_close(tuned.double()(x), expected.double(), rtol=1e-4, atol=1e-4)
    assert {p.dtype for p in tuned.detach().parameters()} == {torch.float64}


@needs_peft
@pytest.mark.parametrize("options", [{}, {"dora": True}])
def test_lora_in_half_precision_is_float32(options: dict[str, object]) -> None:
    x, casts = images(small(VIT)).bfloat16(), moved(small(VIT).float(), targets="all", **options)
    before = tensors(casts)
    started = moved(small(VIT).bfloat16(), targets="all", **options)
    for tuned in (casts.bfloat16(), started):
        learned = {name: p for name, p in tuned.trainable().items() if "lora_" in name}
        assert {p.dtype for p in learned.values()} == {torch.float32}
        tuned.train()(x).float().square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learned.values())
    assert all(torch.equal(p, before[name]) for name, p in casts.trainable().items() if "lora_" in name)


@needs_peft
def test_no_adapted_layer_is_the_linear_probe() -> None:
    tuned = vpt.tune(small(VIT), "lora", layers="none")
    assert set(tuned.trainable()) == {"backbone.head.weight", "backbone.head.bias"}
    assert torch.equal(tuned(images(tuned.backbone)), small(VIT)(images(tuned.backbone)))


# --- what is refused ------------------------------------------------------------------------------


@needs_peft
@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"rank": 0}, "rank is 0; accepted: a whole number, 1 or more"),
        ("lora", {"rank": True}, "rank is True"),
        ("lora", {"alpha": -1}, "alpha is -1; accepted: a number above 0"),
        ("lora", {"alpha": float("nan")}, "alpha is nan"),
        ("lora", {"dropout": 1.0}, "dropout is 1.0"),
        ("lora", {"dora": "yes", "rslora": 2}, "dora is 'yes'; rslora is 2; accepted: true or false"),
        ("lora", {"targets": ["attn.qvk", "fc3", "fc1"]}, "no block has a linear layer 'attn.qvk' (did you mean"),
        ("lora", {"targets": "head"}, "'head'; accepted: 'all', or any of attn.qkv, attn.proj, mlp.fc1, mlp.fc2"),
        ("lora", {"targets": []}, "targets is []; accepted: 'all'"),
        ("lora", {"targets": 3}, "targets is 3; accepted"),
        ("lora", {"layers": "last:9"}, "this backbone has 3 blocks"),
        ("lora", {"path": "fused"}, "not possible here: no prompts that are tokens"),
        ("adapter", {"kind": "lohha"}, "unknown kind 'lohha' (did you mean 'loha'?)"),
        ("adapter", {"kind": "vera"}, "unknown kind 'vera'"),
        ("adapter", {"kind": None}, "unknown kind None"),
        ("adapter", {"settings": 3}, "settings is 3"),
        ("adapter", {"settings": {"rank_drpout": 0.1}}, "no setting 'rank_drpout' (did you mean 'rank_dropout'?)"),
        ("adapter", {"settings": {"target_modules": "x", "bias": "all"}}, "no setting 'target_modules', 'bias'"),
        ("adapter", {"kind": "miss", "settings": {"r": 500}}, "peft cannot put 'miss' with"),
        ("adapter", {"kind": "oft", "settings": {"r": 2, "oft_block_size": 4}}, "peft"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(method: str, options: dict[str, object], message: str) -> None:
    backbone = small(VIT)
    modules, before = dict(backbone.named_modules()), tensors(backbone)
    with pytest.raises(OptionError, match=re.escape(message)):
        vpt.tune(backbone, method, **options)
    assert dict(backbone.named_modules()) == modules
    assert same(tensors(backbone), before)
    assert all(p.requires_grad for p in backbone.parameters())
    vpt.tune(backbone, "deep")


@needs_peft
def test_a_start_that_would_change_frozen_weights_is_refused() -> None:
    backbone = small(VIT).float()
    linears, before = {"blocks.0.attn.qkv": backbone.blocks[0].attn.qkv}, tensors(backbone)
    with pytest.raises(OptionError, match="change frozen weights at the start"):
        wrap(linears, "lora", {"init_lora_weights": "pissa"}, torch.Generator())
    assert same(tensors(backbone), before)


@needs_peft
def test_a_backbone_in_use_is_named_as_such() -> None:
    tuned = vpt.tune(small(VIT), "lora")
    for method in ("lora", "adapter", "linear"):
        with pytest.raises(OptionError, match=r"already tuned by vpt; call \.detach\(\)"):
            vpt.tune(tuned.backbone, method)


@needs_peft
def test_models_without_known_projections_ask_for_targets() -> None:
    backbone = small(VIT)
    for block in backbone.blocks:
        block.attn = nn.Sequential(nn.Linear(48, 48).double())
    with pytest.raises(OptionError, match=r"name the targets, accepted: 'all', or any of attn\.0, mlp\.fc1"):
        vpt.tune(backbone, "lora")
    assert len(vpt.tune(backbone, "lora", targets="attn.0").learned.adapters) == 3


@needs_peft
def test_a_saved_adapter_without_peft_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vpt.save(moved(small(VIT)), tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ArtifactError, match=r"cannot be rebuilt.*vpt\[peft\]"):
        vpt.load(small(VIT), tmp_path)
