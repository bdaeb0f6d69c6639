"""Prompts in the image tower, and in both: what they mean, that the fast path means the same, that CLIP stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import torch
from support.small_tokenizer import SmallTokenizer
from support.visual_towers import TOWERS, images_of, visual_clip
from torch import Tensor

import vpt
from vpt.errors import OptionError, UnsupportedBackbone

METHODS: dict[str, dict[str, Any]] = {
    "shallow": {"method": "clip_vpt", "layers": "first", "length": 3},
    "deep": {"method": "clip_vpt", "length": 3},
    "last blocks": {"method": "clip_vpt", "length": 3, "layers": "last:2"},
    "ivlp": {"method": "ivlp", "depth": 2, "words": "an x"},
    "maple": {"method": "maple", "depth": 2, "words": "an x of no"},
    "maple, first layer": {"method": "maple", "depth": 1, "words": "an x"},
}
NAMES = ["cat", "sea lion", "go-kart", "x", "vezi tomi la"]
UNFUSED = ("scaled cosine",)


def tuned_on(clip: Any, path: str = "auto", method: str = "maple", **options: Any) -> vpt.methods.TunedClip:
    """The method with random values for all that is learned."""
    tuned = vpt.tune(clip, method, classnames=NAMES, tokenizer=SmallTokenizer(), path=path, **options)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in tuned.trainable().values():
            parameter.normal_(0, 0.5, generator=generator)
    return tuned


def answers(clip: Any, path: str, method: str, **options: Any) -> list[Tensor]:
    """Logits, and gradients of all that is learned, on one path."""
    tuned = tuned_on(clip, path, method, **options)
    logits = tuned(images_of(clip))
    (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    found = [logits.detach(), *(p.grad.clone() for p in tuned.trainable().values())]
    tuned.detach()
    return found


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("tower", TOWERS)
def test_fused_equals_plain(tower: str, kind: str) -> None:
    clip = visual_clip(tower)
    if tower in UNFUSED:
        pytest.skip("this attention has no parts; it is refused below")
    fused = answers(clip, "fused", **METHODS[kind])
    for a, b in zip(fused, answers(clip, "plain", **METHODS[kind]), strict=True):
        assert b.abs().max() > 1e-6, "nothing to compare"
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * float(b.abs().max()))


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("kind", ["shallow", "deep", "last blocks"])
def test_prompts_enter_where_the_papers_put_them(kind: str, path: str) -> None:
    """After the position embedding, in the first block before ln_pre; each block's own replace what came before."""
    clip = visual_clip("class token")
    tuned, images = tuned_on(clip, path, **METHODS[kind]), images_of(clip)
    found, prompts = tuned.image_features(images).detach(), tuned.prompts
    tuned.detach()
    visual, length = clip.visual, prompts.length
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) + visual.positional_embedding
    own = x.shape[1]
    for layer in range(len(visual.transformer.resblocks)):
        if layer in prompts.layers:
            x = torch.cat([x[:, :own], prompts(layer, 1).expand(len(x), -1, -1)], 1)
            assert x.shape[1] == own + length
        x = visual.ln_pre(x) if layer == 0 else x
        x = visual.transformer.resblocks[layer](x)
    expected = torch.nn.functional.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_maple_couples_every_layer() -> None:
    tuned = tuned_on(visual_clip("class token"), method="maple", depth=2, words="an x of no")
    text, visual = tuned.prompts.text, tuned.prompts.visual
    for layer, tokens in enumerate([text.tokens, text.deeper[0]]):
        linear = visual.projections[layer]
        assert torch.equal(visual(layer, 1)[0], tokens @ linear.weight.T + linear.bias)


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("tower", ["class token", "coca", *(tower for tower in TOWERS if tower.startswith("timm, "))])
def test_frozen_features_are_those_of_the_tower_alone(tower: str, path: str) -> None:
    clip = visual_clip(tower)
    images = images_of(clip)
    before = clip.encode_image(images, normalize=True).detach()
    for depth in (1, 3):  # prompts that are carried on, and prompts in every block
        tuned = tuned_on(clip, path, method="ivlp", depth=depth, words="an x")
        learned = tuned.image_features(images)
        frozen = tuned.frozen_image_features(images)
        assert not frozen.requires_grad
        torch.testing.assert_close(frozen, before, rtol=0, atol=1e-12)
        assert (learned - before).abs().max() > 1e-3
        assert torch.equal(tuned.image_features(images), learned), "the prompts have their room again"
        tuned.detach()


def test_frozen_features_leave_room_for_the_prompts_after_an_error() -> None:
    clip = visual_clip("timm, rotary")
    tuned, images = tuned_on(clip, "plain", method="ivlp", depth=3, words="an x"), images_of(clip)
    expected = tuned.image_features(images)
    with pytest.raises(AssertionError, match="Input height"):
        tuned.frozen_image_features(images[..., :8, :8])
    assert torch.equal(tuned.image_features(images), expected)


@pytest.mark.parametrize("tower", ["class token", "timm"])
def test_hooks_of_others_run_beside_the_fast_path(tower: str) -> None:
    clip, calls = visual_clip(tower), []
    tuned = tuned_on(clip, method="clip_vpt", length=2)
    assert tuned.path == "fused"
    expected = tuned(images_of(clip))
    passed_by = clip.visual.transformer if tower == "class token" else clip.visual
    passed_by.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(tuned(images_of(clip)), expected, rtol=0, atol=1e-10)
    assert calls == [1]


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("path", ["plain", "fused"])
def test_the_clip_comes_back_as_it_was(kind: str, path: str) -> None:
    clip = visual_clip("class token")
    images = images_of(clip)
    state = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    flags = [parameter.requires_grad for parameter in clip.parameters()]
    before = clip.encode_image(images), clip.encode_text(SmallTokenizer()(NAMES, 40))
    tuned = tuned_on(clip, path, **METHODS[kind])
    optimizer = torch.optim.SGD(tuned.trainable().values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        tuned.train()(images).logsumexp(1).sum().backward()
        optimizer.step()
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(tuned.trainable())
    assert tuned.detach() is clip
    assert all(torch.equal(tensor, state[name]) for name, tensor in clip.state_dict().items())
    assert [parameter.requires_grad for parameter in clip.parameters()] == flags
    after = clip.encode_image(images), clip.encode_text(SmallTokenizer()(NAMES, 40))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in clip.modules())


def test_a_copy_is_independent() -> None:
    clip = visual_clip("class token")
    tuned, images = tuned_on(clip), images_of(clip)
    logits, twin = tuned(images), copy.deepcopy(tuned)
    with torch.no_grad():
        for parameter in tuned.trainable().values():
            parameter.add_(1.0)
    torch.testing.assert_close(twin(images), logits)
    assert not torch.allclose(tuned(images), logits)


def test_an_attention_without_parts_takes_the_hooks_and_says_why() -> None:
    clip = visual_clip("scaled cosine")
    with pytest.raises(OptionError, match="scaled cosine"):
        tuned_on(clip, "fused", method="clip_vpt")
    tuned = tuned_on(clip, method="clip_vpt")
    assert "scaled cosine" in tuned.summary()


def test_fixed_texts_are_encoded_once_for_visual_prompts() -> None:
    clip, calls = visual_clip("class token"), []
    tuned = tuned_on(clip, "plain", method="clip_vpt").train()
    clip.transformer.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        tuned(images_of(clip)).sum().backward()
    assert len(calls) == 1


def test_a_tower_that_takes_no_prompts_says_so() -> None:
    vision = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 8}
    text = {"context_length": 40, "vocab_size": 100, "width": 12, "heads": 3, "layers": 1}
    clip = open_clip.CLIP(24, vision, text)
    with pytest.raises(UnsupportedBackbone, match=r"ModifiedResNet.*Supported: open_clip's VisionTransformer"):
        tuned_on(clip, method="clip_vpt")
    assert tuned_on(clip, method="coop", context_length=2)(torch.zeros(1, 3, 32, 32)).shape == (1, len(NAMES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "maple", "context_length": 9, "words": "an x"}, r"words='an x' are .* tokens; accepted"),
        ({"method": "ivlp", "depth": 0}, "depth is 0"),
        ({"method": "clip_vpt", "length": 0}, "length is 0"),
        ({"method": "clip_vpt", "layers": "first:9"}, "3 blocks"),
        ({"method": "maple", "path": "hooks"}, "path"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    clip = visual_clip("class token")
    with pytest.raises(OptionError, match=message):
        tuned_on(clip, **options)
    tuned_on(clip)
