"""What keeps working while prompts are attached, by either path; what they mean for masks, pools and dropout."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matrix import images, small
from torch import Tensor

import vpt
from vpt.attach.room import with_gap

VIT, EVA, BEIT = "flexivit_base", "vit_7b_patch16_dinov3", "beit_base_patch16_224"
FAMILIES = [VIT, EVA, BEIT, "mixed rotary", "vit_base_patch16_siglip_224"]


PATH = "auto"


@pytest.fixture(params=["hooks", "auto"], autouse=True)
def by_either_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PATH", request.param)


def tuned_small(variant: str = VIT, method: str = "deep", **options: object) -> vpt.Tuned:
    tuned = vpt.tune(small(variant), method, **{"init": "normal", "length": 3, "path": PATH, **options})
    torch.nn.init.normal_(tuned.prompts.tokens, generator=torch.Generator().manual_seed(5))
    return tuned


@pytest.mark.parametrize("variant", FAMILIES)
def test_a_deep_copy_is_independent(variant: str) -> None:
    tuned = tuned_small(variant)
    x = images(tuned.backbone)
    expected = tuned(x).detach()
    twin = copy.deepcopy(tuned)
    assert torch.equal(twin(x), expected)
    torch.nn.init.normal_(twin.prompts.tokens)
    assert not torch.allclose(twin(x), expected)
    assert torch.equal(tuned(x), expected)
    twin.detach()
    assert torch.equal(tuned(x), expected)
    bare = tuned.detach()
    assert torch.equal(bare(x), twin.backbone(x))


@pytest.mark.parametrize("variant", FAMILIES)
def test_pickling_attached_and_detached(variant: str) -> None:
    tuned = tuned_small(variant)
    x = images(tuned.backbone)
    again = pickle.loads(pickle.dumps(tuned))
    assert torch.equal(again(x), tuned(x))
    expected = tuned.detach()(x)
    assert torch.equal(pickle.loads(pickle.dumps(tuned.backbone))(x), expected)
    assert torch.equal(again.detach()(x), expected)


@pytest.mark.parametrize("variant", FAMILIES)
def test_compiles_without_a_graph_break(variant: str) -> None:
    torch.compiler.reset()  # else the models of earlier tests count as recompilations of this one
    tuned = tuned_small(variant)
    x = images(tuned.backbone)
    compiled = torch.compile(tuned, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), tuned(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", FAMILIES)
@pytest.mark.parametrize("mode", ["step", "sample"])
def test_gradient_checkpointing_changes_nothing(variant: str, mode: str) -> None:
    tuned = tuned_small(variant, dropout=0.3, dropout_mode=mode).train()
    x = images(tuned.backbone)

    def gradient() -> Tensor:
        torch.manual_seed(0)
        return torch.autograd.grad(tuned(x).square().sum(), tuned.prompts.tokens)[0]

    plain = gradient()
    tuned.backbone.set_grad_checkpointing(True)
    torch.manual_seed(0)
    tuned.prompts.tokens.grad = None
    tuned(x).square().sum().backward()
    # the mask of a step is drawn inside the checkpointed block, which restores the random state when it runs again
    torch.testing.assert_close(tuned.prompts.tokens.grad, plain, rtol=1e-9, atol=1e-9 * float(plain.abs().max()))


def test_half_precision_keeps_the_master_and_autocast_runs() -> None:
    tuned = tuned_small()
    x = images(tuned.backbone)
    tuned.float()
    reference = tuned(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(tuned(x.float()).float(), reference, atol=0.3, rtol=0.3)
    values = tuned.prompts.tokens.detach().clone()
    tuned.bfloat16()
    assert tuned.backbone.pos_embed.dtype == torch.bfloat16
    assert tuned.prompts.tokens.dtype == torch.float32
    assert torch.equal(tuned.prompts.tokens, values)
    assert tuned(x.bfloat16()).dtype == torch.bfloat16


def test_the_backbone_state_dict_has_no_prompts_and_round_trips() -> None:
    tuned = tuned_small()
    names = set(small(VIT).state_dict())
    assert set(tuned.backbone.state_dict()) == names
    buffer = io.BytesIO()
    torch.save(tuned.state_dict(), buffer)
    buffer.seek(0)
    other = tuned_small()
    torch.nn.init.zeros_(other.prompts.tokens)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = images(tuned.backbone)
    assert torch.equal(other(x), tuned(x))


def test_intermediate_features_of_deep_prompts_have_the_backbones_shape() -> None:
    tuned = tuned_small()
    maps = tuned.backbone.forward_intermediates(images(tuned.backbone), intermediates_only=True)
    assert [m.shape for m in maps] == [(2, 48, 4, 4)] * 3


@pytest.mark.parametrize("variant", [VIT, EVA])
def test_masks_hide_patches_and_never_prompts(variant: str) -> None:
    tuned = tuned_small(variant)
    x, n = images(tuned.backbone), tuned.site.prefix + 16
    open_mask = torch.ones(n, n, dtype=torch.bool)
    torch.testing.assert_close(tuned.backbone(x, attn_mask=open_mask), tuned(x))
    additive = torch.zeros(n, n, dtype=torch.float64)
    torch.testing.assert_close(tuned.backbone(x, attn_mask=additive), tuned(x))
    blind = torch.eye(n, dtype=torch.bool)  # every token sees itself and the prompts alone
    first = tuned.backbone.forward_features(x, attn_mask=blind)
    changed = x.clone()
    changed[:, :, :16, :16] += 1  # pixels of the first patch
    moved = (tuned.backbone.forward_features(changed, attn_mask=blind) - first).abs().amax((0, 2))
    assert moved[tuned.site.prefix] > 1e-6
    moved[tuned.site.prefix] = 0
    assert moved.max() < 1e-12
    torch.nn.init.normal_(tuned.prompts.tokens)
    assert (tuned.backbone.forward_features(x, attn_mask=blind) - first).abs().amax((0, 2)).min() > 1e-6


def test_causal_order_holds_among_the_backbones_own_tokens() -> None:
    tuned = tuned_small(VIT)
    x = images(tuned.backbone)
    changed = x.clone()
    changed[:, :, -16:, -16:] += 1  # the last patch
    a, b = (tuned.backbone.forward_features(i, is_causal=True) for i in (x, changed))
    assert torch.allclose(a[:, :-1], b[:, :-1], atol=1e-12)
    assert not torch.allclose(a[:, -1], b[:, -1])


@given(n=st.integers(1, 6), length=st.integers(1, 4), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_gap_leaves_every_pair_in_its_place(n: int, length: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, n))
    pairs = torch.rand(2, n, n) + 1
    wide = with_gap(pairs, at, length, 0.0)
    own = [i for i in range(n + length) if not at <= i < at + length]
    assert torch.equal(wide[:, own][:, :, own], pairs)
    assert wide.count_nonzero() == pairs.numel()


@pytest.mark.parametrize("pool", ["prompts", "patches", "all"])
@pytest.mark.parametrize("method", ["shallow", "deep"])
def test_pools_read_what_they_name(pool: str, method: str) -> None:
    backbone = small(VIT)
    tuned = vpt.tune(backbone, method, length=3, pool=pool)
    x, seen = images(backbone), []
    handle = backbone.blocks[-1].register_forward_hook(lambda m, a, out: seen.append(out))
    got = tuned(x)
    handle.remove()
    tokens = backbone.norm.forward(seen[0])  # [class, prompts, patches] as the last block left them
    assert tokens.shape[1] == 1 + 3 + 16
    kept = {"prompts": tokens[:, 1:4], "patches": tokens[:, 4:], "all": tokens}[pool]
    torch.testing.assert_close(got, backbone.head(kept.mean(1)))


def test_dropout_masks_per_step_and_per_sample() -> None:
    tuned = tuned_small(dropout=0.5).train()
    shared = tuned.prompts(0, 4)
    assert shared.shape == (1, 3, 48)
    assert 0 < (shared == 0).double().mean() < 1
    tuned.prompts.dropout_mode = "sample"
    own = tuned.prompts(0, 4)
    assert own.shape == (4, 3, 48)
    assert not torch.equal(own[0] == 0, own[1] == 0)
    assert torch.equal(tuned.eval().prompts(0, 4)[0], tuned.prompts.tokens[0])
