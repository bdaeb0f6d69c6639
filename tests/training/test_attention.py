"""Recomputed attention against what unfused attention really computes."""

import pytest
import timm
import torch

import vpt
from vpt.training import class_attention
from vpt.training.attention import heat

SMALL = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
MODELS = {
    "plain": ("vit_tiny_patch16_224", {"patch_size": 8}),
    "qk norm, registers": ("vit_tiny_patch16_224", {"patch_size": 8, "qk_norm": True, "reg_tokens": 3}),
    "average pooling": ("vit_tiny_patch16_224", {"patch_size": 8, "global_pool": "avg"}),
    "distilled": ("deit_tiny_distilled_patch16_224", {"patch_size": 8}),
    "eva02": ("eva02_tiny_patch14_224", {"patch_size": 8}),
    "eva02, projections apart": ("eva02_base_patch14_224", {"patch_size": 8}),
    "dinov3": ("vit_small_patch16_dinov3", {"patch_size": 8}),
    "pe": ("vit_pe_core_tiny_patch16_384", {"patch_size": 8}),
    "beit": ("beit_base_patch16_224", {"patch_size": 8}),
}


def build(key):
    name, options = MODELS[key]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3, **SMALL, **options).eval()
    for parameter in model.parameters():  # fresh biases and tables are zero, which would hide mistakes
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def observed(model, images):
    """What enters the dropout on the attention weights, `[B, heads, N, N]`: there only without fused attention."""
    attention, seen = model.blocks[-1].attn, []
    fused, attention.fused_attn = attention.fused_attn, False
    handle = attention.attn_drop.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    with torch.no_grad():
        model(images)
    handle.remove()
    attention.fused_attn = fused
    return seen[0]


@pytest.mark.parametrize("prompted", [False, True])
@pytest.mark.parametrize("key", MODELS)
def test_equals_the_weights_of_unfused_attention(key, prompted):
    model, images = build(key), torch.randn(2, 3, 32, 32)
    if prompted:
        tuned = vpt.tune(model, "deep", length=5)
        torch.nn.init.normal_(tuned.prompts.tokens)
        fast = class_attention(model, images)
        tuned.detach()
        values = tuned.prompts.tokens.detach()
        tuned = vpt.tune(model, "deep", length=5, path="hooks", init=values)
    maps = class_attention(model, images)
    if prompted:
        torch.testing.assert_close(fast, maps)
    expected = observed(model, images)[:, :, 0, -16:].mean(1).reshape(2, 4, 4)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)
    assert (maps.sum((1, 2)) < 1).all()


def test_nothing_to_show_is_none_and_hooks_are_gone():
    none = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, class_token=False, global_pool="avg"
    )
    assert class_attention(none, torch.randn(1, 3, 32, 32)) is None
    assert class_attention(torch.nn.Linear(2, 2), torch.randn(1, 2)) is None
    model = build("plain").train()
    class_attention(model, torch.randn(1, 3, 32, 32))
    assert not model.blocks[-1].attn._forward_pre_hooks
    assert not model.patch_embed._forward_pre_hooks
    assert model.training


def test_heat_spans_zero_to_one():
    picture = heat(torch.rand(2, 4, 4), (32, 32))
    assert picture.shape == (2, 1, 32, 32)
    assert picture.amin() == 0
    assert picture.amax() == 1
    assert torch.isfinite(heat(torch.ones(1, 2, 2), (4, 4))).all()
