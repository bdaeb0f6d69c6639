"""The fused path against the hooks path: the same outputs and gradients, for less work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matrix import VARIANTS, images, small
from torch import Tensor, nn

import vpt
from vpt.errors import OptionError

HOOKS_ONLY = {
    "vit_dlittle_patch16_reg1_gap_256": "no parts are known of DiffAttention",
    "vit_dpwee_patch16_reg1_gap_256": "no parts are known of DiffParallelScalingBlock",
}
"""Differential attention stays on the hooks."""

FUSED = [variant for variant in VARIANTS if variant not in HOOKS_ONLY]
VIT, EVA, BEIT, PARALLEL = "flexivit_base", "vit_7b_patch16_dinov3", "beit_base_patch16_224", "vit_base_patch16_xp_224"
THINGS = "vit_base_patch16_18x2_224"
FAMILIES = [VIT, EVA, BEIT, PARALLEL, THINGS]

Result = tuple[Tensor, dict[str, Tensor]]


def tune(model: nn.Module, path: str, method: str = "deep", **options: Any) -> vpt.Tuned:
    tuned = vpt.tune(model, method, path=path, num_classes=7, head_init="normal", **{"init": "normal", **options})
    torch.nn.init.normal_(next(iter(tuned.prompts.parameters())), generator=torch.Generator().manual_seed(5))
    return tuned


def result(tuned: vpt.Tuned, x: Tensor, **told: Any) -> Result:
    """Outputs, and gradients of all that is learned; the random state is the same each time."""
    torch.manual_seed(0)
    out = tuned.backbone(x, **told) if told else tuned(x)
    trained = tuned.trainable()
    gradients = torch.autograd.grad(out.square().sum(), list(trained.values()))
    return out.detach(), dict(zip(trained, gradients, strict=True))


def assert_same(fused: Result, hooks: Result) -> None:
    """To 1e-10 of the largest value, for outputs and for each learned tensor's gradient."""
    pairs = [(fused[0], hooks[0]), *((fused[1][name], hooks[1][name]) for name in hooks[1])]
    for got, expected in pairs:
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
        assert expected.abs().max() > 0, "nothing to compare"


def compare(variant: str, batch: int = 3, train: bool = False, told: Callable[[int], dict[str, Any]] | None = None,
            **options: Any) -> None:  # fmt: skip
    model = small(variant)
    x, results = images(model, batch), []
    for path in ("fused", "hooks"):
        tuned = tune(model, path, **options).train(train)
        assert tuned.path == path
        extra = {} if told is None else told(tuned.site.prefix + tuned.site.patches)
        results.append(result(tuned, x, **extra))
        tuned.detach()
    assert_same(*results)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_family_is_fused_or_says_why_not(variant: str) -> None:
    tuned = vpt.tune(small(variant), "deep", length=2)
    reason = HOOKS_ONLY.get(variant)
    assert (tuned.path, tuned.reason) == (("hooks", reason) if reason else ("fused", "exact here"))
    assert f"path: {tuned.path} ({tuned.reason})" in tuned.summary()
    if reason:
        tuned.detach()
        with pytest.raises(OptionError, match=reason):
            vpt.tune(tuned.backbone, "deep", path="fused")


@pytest.mark.parametrize("layers", ["all", "first", "last:1", "last:2", (0, 2), (1,), (0, 1)])
@pytest.mark.parametrize("variant", FUSED)
def test_equals_hooks_for_all_patterns_of_prompted_layers(variant: str, layers: Any) -> None:
    if layers != "all" and len(small(variant).blocks) < 3:
        layers = "last:1"
    compare(variant, length=4, layers=layers)


@pytest.mark.parametrize("options", [{"dropout_mode": "step"}, {"dropout_mode": "sample"}, {"project": 5}])
@pytest.mark.parametrize("variant", FUSED)
def test_equals_hooks_with_masks_of_dropout_and_with_projection(variant: str, options: dict[str, Any]) -> None:
    compare(variant, train=True, length=4, dropout=0.4, **options)


@settings(max_examples=25, deadline=None)
@given(
    variant=st.sampled_from(FAMILIES),
    batch=st.integers(1, 5),
    length=st.integers(1, 9),
    layers=st.sets(st.integers(0, 2), min_size=1).map(sorted),
    shared=st.booleans(),
    project=st.none() | st.integers(1, 8),
    dropout=st.sampled_from([0.0, 0.3]),
    mode=st.sampled_from(["step", "sample"]),
)
def test_equals_hooks_for_any_options(
    variant: str, batch: int, length: int, layers: list[int], shared: bool, project: int | None, dropout: float,
    mode: str,
) -> None:  # fmt: skip
    compare(variant, batch, True, length=length, layers=layers, shared=shared, project=project, dropout=dropout,
            dropout_mode=mode)  # fmt: skip


@pytest.mark.parametrize("variant", [VIT, BEIT])
def test_pixel_prompts_take_it_too(variant: str) -> None:
    model = small(variant)
    x = images(model)
    results = [result(tune(model, path, "pixels", length=3), x) for path in ("fused",)]
    model = small(variant)
    results.append(result(tune(model, "hooks", "pixels", length=3), x))
    assert_same(*results)


def _additive(n: int) -> Tensor:
    return torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


MASKS: dict[str, Callable[[int], dict[str, Any]]] = {
    "boolean": lambda n: {"attn_mask": _additive(n) > -1},
    "additive": lambda n: {"attn_mask": _additive(n)},
    "per image and head": lambda n: {
        "attn_mask": torch.stack([_additive(n) > -1, _additive(n) > -2, _additive(n) > 0])[:, None]
    },
    "of keys alone": lambda n: {"attn_mask": (_additive(n) > -1)[:1]},
    "causal": lambda n: {"is_causal": True},
}


@pytest.mark.parametrize("layers", ["all", "first", (0, 2)])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("variant", [VIT, EVA, PARALLEL, THINGS])
def test_masks_are_respected(variant: str, mask: str, layers: Any) -> None:
    compare(variant, told=MASKS[mask], length=3, layers=layers)


@pytest.mark.parametrize("variant", FAMILIES)
def test_folded_prompts_are_the_same_until_they_change(variant: str) -> None:
    tuned = tune(small(variant), "fused", length=3)
    x = images(tuned.backbone)
    calls: list[int] = []
    tuned.prompts.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        expected = tuned.eval()(x)
        assert len(calls) == 3
        tuned.fold()
        calls.clear()
        torch.testing.assert_close(tuned(x), expected, rtol=1e-12, atol=1e-12)
        assert not calls
    assert result(tuned, x)[1]["prompts.tokens"].abs().max() > 0, "a folded model can still give gradients"


def _loaded(tuned: vpt.Tuned) -> None:
    tuned.load_trained_state({name: torch.zeros_like(t) for name, t in tuned.trained_state().items()})


def tuned_loss(tuned: vpt.Tuned) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        loss = tuned(images(tuned.backbone)).sum()
        loss.backward()
        return loss

    return closure


CHANGES: dict[str, Callable[[vpt.Tuned], Any]] = {
    "training": lambda tuned: (nn.init.zeros_(tuned.train().prompts.tokens), tuned.eval()),
    "load_trained_state": _loaded,
    "load_state_dict": lambda t: t.load_state_dict({k: torch.zeros_like(v) for k, v in t.state_dict().items()}),
    "an optimiser in eval": lambda tuned: torch.optim.SGD([tuned.prompts.tokens], lr=1.0).step(tuned_loss(tuned)),
    "in place": lambda tuned: tuned.prompts.tokens.detach().mul_(0.5),
    "a cast": lambda tuned: tuned.float(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folded_model_never_answers_with_stale_prompts(change: str) -> None:
    tuned = tune(small(VIT), "fused", length=3).fold()
    CHANGES[change](tuned)
    x = images(tuned.backbone).to(tuned.backbone.pos_embed.dtype)
    with torch.no_grad():
        got = tuned(x)
    again = tune(small(VIT), "hooks", length=3).to(x.dtype)
    again.load_state_dict(tuned.state_dict())
    torch.testing.assert_close(got, again(x).detach(), rtol=1e-5, atol=1e-5)


def test_a_user_sees_whole_feature_maps_and_hooks_on_blocks_run() -> None:
    tuned = tune(small(VIT), "fused", length=3)
    x, seen = images(tuned.backbone), []
    handles = [
        block.register_forward_hook(lambda m, a, out: seen.append(tuple(out.shape))) for block in tuned.site.blocks
    ]
    features = tuned.backbone.forward_features(x)
    assert features.shape == (2, 17, 48)
    assert seen == [(2, 17, 48)] * 3
    torch.testing.assert_close(tuned.backbone.forward_head(features), tuned(x), rtol=1e-12, atol=1e-12)
    assert seen[3:] == [(2, 17, 48)] * 2 + [(2, 1, 48)], "in the model's own pass the last block answers for one token"
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("own", ["subclass", "hook", "instance"])
def test_what_a_backbones_own_forward_adds_is_never_left_out(own: str) -> None:
    model = small(VIT)
    if own == "subclass":
        stock = type(model)
        model.__class__ = type("Own", (stock,), {"forward": lambda self, x: 2 * stock.forward(self, x)})
    elif own == "hook":
        model.register_forward_hook(lambda m, args, out: 2 * out)
    else:
        model.forward = lambda x, inner=model.forward: 2 * inner(x)
    tuned, plain = tune(model, "fused", length=3), tune(small(VIT), "fused", length=3)
    x = images(model)
    torch.testing.assert_close(tuned(x), 2 * plain(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("change", ["hook", "projection", "subclass"])
def test_an_attention_that_is_not_stock_keeps_its_own_forward(change: str) -> None:
    model = small(VIT)
    attention = model.blocks[1].attn
    if change == "hook":
        attention.register_forward_hook(lambda m, a, out: None)
    elif change == "projection":
        attention.qkv = nn.Sequential(attention.qkv)
    else:
        attention.__class__ = type("Own", (type(attention),), {})
    tuned = vpt.tune(model, "deep", length=2)
    assert tuned.path == "hooks"
    assert {"hook": "hooks", "projection": "Sequential", "subclass": "Own"}[change] in tuned.reason


def test_nothing_before_the_first_prompted_block_is_kept_for_backward() -> None:
    kept = {layers: _bytes_kept(tune(small(VIT), "fused", length=3, layers=layers)) for layers in ("all", "last:1")}
    assert 0 < kept["last:1"] < kept["all"] / 3


def _bytes_kept(tuned: vpt.Tuned) -> int:
    sizes: list[int] = []
    frozen = {p.data_ptr() for p in tuned.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(0 if tensor.data_ptr() in frozen else tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tuned(images(tuned.backbone))
    return sum(sizes)
