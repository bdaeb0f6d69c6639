"""LoRA within the towers of a CLIP: what it computes, on every kind of tower, and what it leaves alone."""

from __future__ import annotations

import copy
import math
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transformer import Attention
from support.extras import needs_peft
from support.small_tokenizer import SmallTokenizer
from support.text_towers import HF_TOWERS, TOWERS, images, small_clip, small_hf_clip
from support.tuned_clips import Pictures, moved, tuned_clip
from support.visual_towers import TOWERS as VISUAL
from support.visual_towers import images_of, visual_clip
from torch import Tensor, nn

import vpt
from vpt.artifacts.save import fingerprint_of, fingerprint_of_backbone
from vpt.attach import text_fused
from vpt.errors import OptionError
from vpt.methods import describe
from vpt.sites.clip_attention import Unpacked
from vpt.training import FitConfig

pytestmark = needs_peft

EVERYTHING: dict[str, Any] = {"targets": "all", "dropout": 0.0}


def clip_of(kind: str) -> Any:
    return small_hf_clip(kind) if kind in HF_TOWERS else small_clip(kind, context_length=40)


def state(clip: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in clip.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(x)
        return found


def zero_shot(clip: Any, x: Tensor) -> Tensor:
    fixed = tuned_clip("zero_shot", clip)
    found = logits(fixed, x)
    fixed.detach()
    return found


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("rslora", [True, False])
@pytest.mark.parametrize("kind", ["flat", "text, eos, own attention", "text, scaled parts"])
def test_it_is_the_clip_with_other_weights(kind: str, rslora: bool) -> None:
    """Merged by hand into a copy of the model, the products give the same logits."""
    clip = clip_of(kind)
    tuned = moved("lora", clip, rank=3, alpha=2.0, rslora=rslora, targets="all")
    scale, learned, merged = 2 / (math.sqrt(3) if rslora else 3), tuned.trained_state(), clip_of(kind)
    with torch.no_grad():
        for name in learned:
            if "lora_A" not in name:
                continue
            layer = name.removeprefix("backbone.").partition(".lora_A")[0]
            product = scale * learned[name.replace("lora_A", "lora_B")] @ learned[name]
            layer, _, part = layer.replace("projections.", "").rpartition(".")
            if part in ("q", "k", "v"):
                merged.get_submodule(layer).in_proj_weight.chunk(3)["qkv".index(part)].add_(product)
            else:
                merged.get_submodule(f"{layer}.{part}").weight.add_(product)
    torch.testing.assert_close(logits(tuned, images()), zero_shot(merged, images()), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(logits(tuned, images()), zero_shot(clip_of(kind), images()))


@pytest.mark.parametrize("kind", [*TOWERS, "bert, pooler", "mt5, mean", "m2m_100, first"])
def test_plain_and_fast_texts_agree_and_everything_takes_part(kind: str) -> None:
    answers, slopes = [], []
    for path in ("plain", "auto"):
        tuned = moved("lora", clip_of(kind), path=path, **EVERYTHING)
        answers.append(tuned(images()))
        answers[-1].square().sum().backward()
        slopes.append({name: p.grad for name, p in tuned.named_parameters() if p.grad is not None})
    assert set(slopes[0]) == set(tuned.trainable())
    assert all(slope.any() for slope in slopes[0].values())
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("tower", [tower for tower in VISUAL if tower != "scaled cosine"])
def test_every_image_tower_starts_as_it_is_and_takes_part(tower: str) -> None:
    clip = visual_clip(tower)
    x, before = images_of(clip), state(clip)
    expected, fingerprint = zero_shot(clip, x), fingerprint_of_backbone(clip)
    started = tuned_clip("lora", clip, towers="image")
    torch.testing.assert_close(logits(started, x), expected, rtol=1e-10, atol=1e-10)
    started.detach()
    tuned = moved("lora", clip, towers="image", **EVERYTHING)
    tuned(x).square().sum().backward()
    assert all(name.startswith("backbone.visual.") and p.grad.any() for name, p in tuned.trainable().items())
    assert fingerprint_of(tuned) == fingerprint
    assert same(state(tuned.detach()), before)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("hides", ["nothing", "additive", "boolean", "per head"])
def test_an_unpacked_attention_is_the_packed_one(own: bool, hides: str) -> None:
    generator = torch.Generator().manual_seed(2)
    packed: Any = Attention(12, 3) if own else nn.MultiheadAttention(12, 3, batch_first=True)
    packed.double().eval()
    x = torch.randn(2, 5, 12, dtype=torch.float64, generator=generator)
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    added = torch.zeros(5, 5, dtype=torch.float64).masked_fill(hidden, float("-inf"))
    mask = {"nothing": None, "additive": added, "boolean": hidden, "per head": added.expand(6, 5, 5)}[hides]
    asked = (x,) if own else (x, x, x)
    expected, found = packed(*asked, attn_mask=mask), Unpacked(packed, {})(*asked, attn_mask=mask)
    if not own:
        expected, found = expected[0], found[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_an_unpacked_attention_takes_tokens_first() -> None:
    packed = nn.MultiheadAttention(12, 3).double().eval()
    x = torch.randn(5, 2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(Unpacked(packed, {})(x, x, x)[0], packed(x, x, x)[0], rtol=1e-12, atol=1e-12)


# --- what is learned, and what is left alone ------------------------------------------------------


def test_published_settings_are_the_defaults() -> None:
    tuned = tuned_clip("lora")
    adapted = {name.removeprefix("backbone.").partition(".lora_")[0] for name in tuned.trainable()}
    blocks = [f"transformer.resblocks.{i}" for i in range(3)] + ["visual.transformer.resblocks.0"]
    assert adapted == {f"{block}.attn.projections.{part}" for block in blocks for part in "qkv"}
    layer = tuned.learned.adapters["transformer.resblocks.0.attn"].projections["q"]
    assert layer.lora_A["default"].weight.shape == (2, 12)
    assert layer.scaling["default"] == pytest.approx(1 / math.sqrt(2))
    assert describe("lora", "open_clip").options["dropout"].default == 0.25


@given(
    towers=st.sampled_from(["text", "image", ("text", "image"), ["image", "text"]]),
    targets=st.sets(st.sampled_from(["q", "attn.v", "out_proj", "c_fc", "mlp.c_proj"]), min_size=1).map(sorted),
    layers=st.sampled_from(["all", "first", "last:1", "none", 0]),
)
@settings(max_examples=15, deadline=None)
def test_towers_targets_and_layers_name_what_learns(towers: Any, targets: list[str], layers: Any) -> None:
    tuned = tuned_clip("lora", towers=towers, targets=targets, layers=layers, rank=1)
    chosen = {"all": [0, 1, 2], "first": [0], "last:1": [2], "none": [], 0: [0]}[layers]
    blocks = [f"transformer.resblocks.{i}" for i in chosen] if "text" in towers else []
    blocks += ["visual.transformer.resblocks.0"] if "image" in towers and layers != "none" else []
    full = {"q": "attn.projections.q", "attn.v": "attn.projections.v", "out_proj": "attn.projections.out_proj"}
    full |= {"c_fc": "mlp.c_fc", "mlp.c_proj": "mlp.c_proj"}
    expected = {f"backbone.{block}.{full[target]}" for block in blocks for target in targets}
    assert {name.partition(".lora_")[0] for name in tuned.trainable()} == expected
    assert logits(tuned, images()).shape == (3, 4)


@pytest.mark.parametrize("kind", ["flat", "text, scaled parts", "roberta, mean"])
def test_training_leaves_the_clip_alone_and_detaching_gives_it_back(kind: str) -> None:
    clip = clip_of(kind).train()
    before, modules = state(clip), dict(clip.named_modules())
    flags, fingerprint = [p.requires_grad for p in clip.parameters()], fingerprint_of_backbone(clip)
    tuned = tuned_clip("lora", clip, targets="all").train()
    optimizer = torch.optim.AdamW(tuned.trainable().values(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(tuned(images(4)), torch.arange(4)).backward()
        optimizer.step()
    with pytest.raises(Exception, match=r".+"):
        tuned(images()[:, :2])
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(tuned.trainable())
    assert set(tuned.trained_state()) == set(tuned.trainable())
    assert same(tuned.frozen_state(), before)
    assert fingerprint_of(tuned) == fingerprint
    assert tuned.detach() is clip
    assert dict(clip.named_modules()) == modules, "the very same modules"
    assert same(state(clip), before)
    assert [p.requires_grad for p in clip.parameters()] == flags
    assert all(module.training for module in modules.values())


def test_fit_lowers_the_loss_and_runs_the_image_tower_that_learns() -> None:
    tuned = tuned_clip("lora", small_clip(context_length=40).float(), dropout=0.0, rank=4)
    config = FitConfig(epochs=6, batch_size=8, lr=0.02, warmup_epochs=0, tensorboard=False)
    history = vpt.fit(tuned, Pictures(), config=config, quiet=True).history
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    moved_from_zero = [name for name, p in tuned.trainable().items() if "lora_B" in name and p.any()]
    assert len(moved_from_zero) == 12, "every product of both towers"


@pytest.mark.parametrize("kind", ["flat", "bert, mean"])
def test_a_saved_task_and_copies_answer_the_same(kind: str, tmp_path: Path) -> None:
    clip = clip_of(kind)
    before, tuned = state(clip), moved("lora", clip, targets="all", layers="first")
    expected, learned = logits(tuned, images()), tuned.trained_state()
    vpt.save(tuned, tmp_path)
    for other in (copy.deepcopy(tuned), pickle.loads(pickle.dumps(tuned))):
        assert torch.equal(logits(other, images()), expected)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert torch.equal(logits(tuned, images()), expected)
    tuned.detach()
    assert same(state(clip), before)
    again = vpt.load(clip, tmp_path, tokenizer=SmallTokenizer())
    assert same(again.trained_state(), learned)
    assert torch.equal(logits(again, images()), expected)


def test_class_features_follow_the_adapters() -> None:
    tuned, runs = moved("lora"), []
    assert tuned.templated is not None
    tuned.templated.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        first = tuned.text_features()
        assert torch.equal(tuned.text_features(), first)
        assert len(runs) == 1
        name = "backbone.transformer.resblocks.1.attn.projections.v.lora_B.default.weight"
        tuned.trainable()[name].add_(0.1)
        assert not torch.equal(tuned.text_features(), first)
    assert len(runs) == 2
    seen = moved("lora", towers="image")
    assert not seen.train().text_features().requires_grad, "a text tower without adapters is asked once"


def test_other_names_with_what_was_learned() -> None:
    tuned, others = moved("lora"), ["vezi", "no"]
    fresh = tuned_clip("lora", names=others)
    fresh.load_trained_state(tuned.trained_state())
    torch.testing.assert_close(logits(tuned.rebind(others), images()), logits(fresh, images()))


def test_dropout_is_in_the_adapters_alone_and_the_same_when_chunks_are_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned, slopes = moved("lora", towers="text", targets="all", dropout=0.5), []
    assert torch.equal(tuned(images()), tuned(images()))
    tuned.train()
    assert not torch.allclose(tuned(images()), tuned(images()))
    training = {name for name, module in tuned.backbone.named_modules() if module.training}
    assert training
    assert not any(name.endswith("base_layer") and "projections" not in name for name in training)
    monkeypatch.setattr(text_fused, "TOKENS_AT_ONCE", 16)
    for again in (True, False):
        if not again:
            monkeypatch.setattr(text_fused, "checkpoint", lambda run, rows, **_: run(rows))
        torch.manual_seed(3)
        tuned(images()).square().sum().backward()
        slopes.append([p.grad.clone() for p in tuned.trainable().values()])
        tuned.zero_grad()
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-10, atol=1e-12)


def test_half_precision_keeps_the_products_in_float32() -> None:
    half = tuned_clip("lora", small_clip(context_length=40).bfloat16(), targets="all")
    auto = tuned_clip("lora", small_clip(context_length=40).float(), targets="all")
    for tuned, pixels in ((half, images().bfloat16()), (auto, images().float())):
        assert {p.dtype for p in tuned.trainable().values()} == {torch.float32}
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned is auto):
            found = tuned.train()(pixels)
        assert found.dtype == torch.float32
        found.square().sum().backward()
        assert all(p.grad.isfinite().all() for p in tuned.trainable().values())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_towers_of_mixed_precision_come_back_as_they_were(precision: str) -> None:
    clip = visual_clip("class token", precision=precision)
    before, x = state(clip), images_of(clip).to(clip.visual.conv1.weight.dtype)
    expected = clip.encode_image(x)
    assert len({tensor.dtype for tensor in before.values()}) == 2
    tuned = tuned_clip("lora", clip, targets="all").train()
    tuned(x).sum().backward()
    assert tuned.detach() is clip
    assert {name: tensor.dtype for name, tensor in state(clip).items()} == {n: t.dtype for n, t in before.items()}
    assert same(state(clip), before)
    assert torch.equal(clip.encode_image(x), expected)


@pytest.mark.parametrize("towers", ["image", "text"])
def test_frozen_image_features_are_those_without_adapters_or_none(towers: str) -> None:
    clip = small_clip(context_length=40)
    expected = F.normalize(clip.encode_image(images()), dim=-1)
    tuned = moved("lora", clip, towers=towers)
    if towers == "text":
        torch.testing.assert_close(tuned.frozen_image_features(images()), expected, rtol=1e-12, atol=1e-12)
        return
    with pytest.raises(OptionError, match=r"the image tower holds the adapters of 'lora'; detach\(\)"):
        tuned.frozen_image_features(images())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_does_not_round_the_products(dtype: torch.dtype) -> None:
    tuned = moved("lora", small_clip(context_length=40).float(), targets="all").train()
    tuned(images().float()).square().sum().backward()
    before, slopes = state(tuned), {name: p.grad.clone() for name, p in tuned.trainable().items()}
    tuned.to(dtype)
    assert {p.dtype for name, p in tuned.named_parameters() if name not in slopes} == {dtype}
    for name, parameter in tuned.trainable().items():
        assert torch.equal(parameter, before[name])
        assert torch.equal(parameter.grad, slopes[name])
    assert tuned(images().to(dtype)).isfinite().all()
    assert {p.dtype for p in tuned.double().trainable().values()} == {torch.float64}


def test_the_seed_decides_and_no_global_state_is_touched() -> None:
    before = torch.get_rng_state()
    one, again, other = (tuned_clip("lora", seed=seed).trained_state() for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0; accepted: a whole number, 1 or more"),
        ({"alpha": 0}, "alpha is 0; accepted: a number above 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"rslora": "yes"}, "rslora is 'yes'; accepted: true or false"),
        ({"towers": ["image", "txt"]}, "unknown tower 'txt' (did you mean 'text'?); accepted: image, text"),
        ({"towers": []}, "towers is []; accepted: 'text', 'image', or both"),
        ({"targets": ["q", "c_fx"]}, "no block has a linear layer 'c_fx' (did you mean 'mlp.c_fc'?); accepted: 'all'"),
        ({"targets": 3}, "targets is 3; accepted: 'all', or any of attn.q, attn.k, attn.v, attn.out_proj, mlp.c_fc"),
        ({"layers": 2}, "layers=2 names [2]; this backbone has blocks 0 to 0"),
        ({"templates": []}, "templates is []"),
        ({"dora": True}, "no option 'dora'"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    clip = small_clip(context_length=40)
    modules = dict(clip.named_modules())
    with pytest.raises(OptionError, match=re.escape(message)):
        tuned_clip("lora", clip, **options)
    assert dict(clip.named_modules()) == modules
    tuned_clip("coop", clip)  # the model is as it was


def test_attentions_that_cannot_be_told_apart_leave_the_linear_layers() -> None:
    clip = visual_clip("scaled cosine")
    for targets, message in (
        (None, "no layer here is known to make queries and values; name the targets, accepted: 'all', or any of"),
        ("q", "no block has a linear layer 'q'; accepted: 'all', or any of mlp.c_fc, mlp.c_proj"),
    ):
        with pytest.raises(OptionError, match=re.escape(message) + ".*its attention is a scaled cosine"):
            tuned_clip("lora", clip, towers="image", targets=targets)
    assert len(tuned_clip("lora", clip, towers="image", targets="c_fc").learned.adapters) == 3


def test_an_image_tower_without_blocks_leaves_the_text_tower() -> None:
    clip = small_clip(context_length=40)
    clip.visual = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 64)).double()
    with pytest.raises(OptionError, match=r"this image tower takes no LoRA.*Without it: towers='text'"):
        tuned_clip("lora", clip)
    assert logits(tuned_clip("lora", clip, towers="text"), images()).shape == (3, 4)
