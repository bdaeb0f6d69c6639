"""`vpt.tune`: options, heads, errors, and what the tuned model tells."""

from __future__ import annotations

import math
import re

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matrix import images, small
from torch import nn

import vpt
from vpt.errors import OptionError, UnsupportedBackbone
from vpt.methods import Learned, describe, method, names
from vpt.methods.layers import resolve

VIT = "flexivit_base"


def test_the_named_methods_are_there_and_described() -> None:
    expected = {"linear", "full", "bias", "partial", "mlp", "shallow", "deep", "added", "pixels", "frame"}
    assert expected <= set(names())
    assert all(describe(name).summary for name in names())
    assert set(describe("deep").options) >= {"length", "layers", "dropout", "init", "project", "shared"}


def test_summary_counts_what_is_trained() -> None:
    tuned = vpt.tune(small(VIT), "deep", length=7, num_classes=4)
    trained = 3 * 7 * 48 + 48 * 4 + 4
    total = sum(p.numel() for p in tuned.parameters())
    line = tuned.summary().splitlines()[-1]
    assert line == f"trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / total:.4f}"
    assert "path: fused (exact here)" in tuned.summary()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (dict(length=4), (3, 4, 48)),
        (dict(length=4, shared=True), (1, 4, 48)),
        (dict(length=2, layers="last:2"), (2, 2, 48)),
        (dict(length=2, project=8), (3, 2, 8)),
        (dict(length=2, layers=[2, 0]), (2, 2, 48)),
    ],
)
def test_token_options(options: dict[str, object], shape: tuple[int, ...]) -> None:
    tuned = vpt.tune(small(VIT), "deep", **options)
    assert tuned.prompts.tokens.shape == shape
    assert {"prompts.tokens"} <= set(tuned.trainable())
    assert ("prompts.projection.weight" in tuned.trainable()) == ("project" in options)
    tuned(images(tuned.backbone)).sum().backward()
    assert all(p.grad is not None for p in tuned.trainable().values())


def test_the_papers_uniform_bound_and_seeds() -> None:
    make = lambda seed: vpt.tune(small(VIT), "deep", length=50, seed=seed).prompts.tokens  # noqa: E731
    project = lambda: vpt.tune(small(VIT), "deep", project=8, num_classes=3).prompts.projection.weight  # noqa: E731
    state = torch.random.get_rng_state()
    bound = (6 / (3 * 16 * 16 + 48)) ** 0.5
    tokens = make(0)
    assert torch.equal(project(), project())
    assert torch.equal(torch.random.get_rng_state(), state), "the user's random state is not ours"
    assert 0.95 * bound < tokens.abs().max() <= bound
    assert torch.equal(tokens, make(0))
    assert not torch.equal(tokens, make(1))


@pytest.mark.parametrize("how", ["mean", "random", "kmeans"])
@pytest.mark.parametrize("variant", [VIT, "vit_7b_patch16_dinov3", "beit_base_patch16_224"])
def test_prompts_from_the_training_images(how: str, variant: str) -> None:
    backbone = small(variant)
    x = images(backbone, batch=6)
    seen = []
    handle = backbone.blocks[1].register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    backbone(x)
    handle.remove()
    patches = seen[0][:, backbone.num_prefix_tokens :].float()
    tuned = vpt.tune(backbone, "deep", length=4, init=how, init_images=x)
    prompts = tuned.prompts.tokens[1].float()
    assert prompts.shape == (4, 48)
    low, high = patches.flatten(0, 1).aminmax(dim=0)
    assert ((prompts >= low - 1e-4) & (prompts <= high + 1e-4)).all(), "inside the cloud of patch tokens"
    if how == "random":
        assert all((patches.flatten(0, 1) == token).all(1).any() for token in prompts)
    if how == "mean":
        torch.testing.assert_close(prompts.mean(0), patches.mean((0, 1)), rtol=1e-4, atol=1e-5)


def test_heads_fresh_kept_and_restored() -> None:
    backbone = small(VIT)
    own, x = backbone.head, images(backbone)
    features = vpt.tune(backbone, "linear")
    assert torch.equal(features(x), own(backbone.forward_head(backbone.forward_features(x), pre_logits=True)))
    with torch.no_grad():
        features.backbone.head.weight.zero_()
    assert own.weight.abs().sum() > 0
    features.detach()
    assert backbone.head is own
    fresh = vpt.tune(backbone, "linear", num_classes=9)
    assert fresh(x).shape == (2, 9)
    assert fresh.num_classes == 9
    assert fresh.backbone.head.weight.count_nonzero() == 0
    fresh.detach()
    paper = vpt.tune(backbone, "linear", num_classes=9, head_init="paper").backbone.head
    torch.testing.assert_close(paper.bias.exp(), torch.full((9,), 1 / 99, dtype=torch.float64))


def test_a_backbone_without_head_answers_with_features() -> None:
    backbone = small("no head")
    tuned = vpt.tune(backbone, "deep")
    assert tuned(images(backbone)).shape == (2, 48)
    assert set(tuned.trainable()) == {"prompts.tokens"}
    tuned.detach()
    assert vpt.tune(backbone, "deep", num_classes=6)(images(backbone)).shape == (2, 6)


def test_detach_after_a_cast_gives_back_a_whole_model() -> None:
    backbone = small(VIT).float()
    x, head = images(backbone), backbone.head.weight.detach().clone()
    expected = backbone(x.float())
    vpt.tune(backbone, "deep", num_classes=3).double().detach()
    assert torch.equal(backbone.head.weight, head.double())
    torch.testing.assert_close(backbone(x), expected.double(), rtol=1e-4, atol=1e-4)


def test_trained_buffers_are_restored_also_after_a_cast() -> None:
    backbone = small(VIT)
    backbone.fc_norm = nn.BatchNorm1d(48).double()
    before = backbone.fc_norm.running_mean.clone()
    tuned = vpt.tune(backbone, "full", num_classes=3).float().train()
    tuned(images(backbone).float())
    assert not torch.allclose(backbone.fc_norm.running_mean.double(), before)
    tuned.detach()
    assert torch.equal(backbone.fc_norm.running_mean.double(), before)


def test_a_detached_model_says_so() -> None:
    backbone = small(VIT)
    tuned = vpt.tune(backbone, "deep")
    tuned.detach()
    for ask in (tuned.trainable, tuned.trained_state, tuned.frozen_state, tuned.summary):
        with pytest.raises(OptionError, match="detached"):
            ask()
    tuned.train()
    assert not backbone.training


def test_a_failure_while_tuning_leaves_the_model_free(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = small(VIT)
    for place in ("Before", "attach_fused"):
        with monkeypatch.context() as patch:
            patch.setattr(f"vpt.methods.tuned.{place}", lambda *a: (_ for _ in ()).throw(MemoryError()))
            with pytest.raises(MemoryError):
                vpt.tune(backbone, "deep")
    vpt.tune(backbone, "deep")


def test_distilled_models_learn_both_heads() -> None:
    tuned = vpt.tune(small("deit_base_distilled_patch16_224"), "linear", num_classes=6)
    assert {n.rsplit(".", 1)[0] for n in tuned.trainable()} == {"backbone.head", "backbone.head_dist"}


def test_partial_and_bias_name_what_they_train() -> None:
    tuned = vpt.tune(small(VIT), "partial", blocks=2)
    roots = {".".join(n.split(".")[1:3]) for n in tuned.trainable()}
    assert roots == {"blocks.1", "blocks.2", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    tuned.detach()
    bias = vpt.tune(tuned.backbone, "bias")
    assert all(n.endswith("bias") or n.startswith("backbone.head.") for n in bias.trainable())
    assert "backbone.blocks.0.attn.qkv.bias" in bias.trainable()


@pytest.mark.parametrize(
    ("method_name", "options", "message"),
    [
        ("depe", {}, "unknown method 'depe' (did you mean 'deep'?)"),
        ("deep", {"lenght": 3}, "no option 'lenght' (did you mean 'length'?); accepted: length, layers"),
        ("deep", {"lenght": 3, "layer": 1}, "'layer' (did you mean 'layers'?)"),
        ("deep", {"length": 0}, "length is 0; accepted: a whole number, 1 or more"),
        ("deep", {"shared": "no"}, "shared is 'no'; accepted: true or false"),
        ("added", {"shared": 2}, "shared is 2; accepted: true or false"),
        ("deep", {"length": 1, "init": [[math.nan] * 48]}, "init holds NaN or infinity at 48 of 48 places"),
        ("deep", {"dropout": 1.5}, "dropout is 1.5"),
        ("deep", {"layers": [0, 7]}, "names [7]; this backbone has blocks 0 to 2"),
        ("deep", {"layers": "lats:2"}, "accepted: 'all', 'first', 'first:k'"),
        ("deep", {"layers": "last:9"}, "this backbone has 3 blocks"),
        ("deep", {"layers": [1, 1]}, "names a block twice"),
        ("deep", {"init": "unifrom"}, "did you mean 'uniform'?"),
        ("deep", {"init": "kmeans"}, "pass some of the training set as init_images="),
        ("deep", {"init": torch.zeros(2, 2)}, "init has shape (2, 2); these prompts have shape (3, 10, 48)"),
        ("deep", {"pool": "prompt"}, "did you mean 'prompts'?"),
        ("deep", {"pool": "prompts", "layers": "none"}, "no block is prompted"),
        ("deep", {"path": "fuse"}, "did you mean 'fused'?"),
        ("deep", {"path": "fused", "pool": "prompts"}, "pool='prompts' reads what the prompts become"),
        ("linear", {"path": "fused"}, "not possible here: no prompts that are tokens"),
        ("deep", {"dropout_mode": "batch"}, "dropout_mode is 'batch'"),
        ("deep", {"num_classes": 0}, "num_classes is 0"),
        ("deep", {"head_init": "zero"}, "did you mean 'zeros'?"),
        ("linear", {"num_classes": 3, "head_init": "keep"}, "needs the backbone's own 5 classes; asked for 3"),
        ("partial", {"blocks": 4}, "blocks is 4; accepted: 1 to 3"),
        ("partial", {"blocks": 1.5}, "blocks is 1.5"),
        ("partial", {"blocks": "a"}, "blocks is 'a'"),
        ("mlp", {"hidden": -1}, "hidden is -1"),
        ("deep", {"dropout": "high"}, "dropout is 'high'"),
        ("deep", {"dropout": None}, "dropout is None"),
        ("deep", {"layers": 1.5}, "layers=1.5; accepted"),
        ("deep", {"layers": None}, "layers=None; accepted"),
        ("deep", {"project": "a"}, "project is 'a'"),
        ("deep", {"project": 0}, "project is 0"),
        ("deep", {"pool": None}, "unknown pool None"),
        ("deep", {"init": None}, "init is None"),
        ("deep", {"init": ["a"]}, "init is ['a']"),
        ("deep", {"init": "mean", "init_images": torch.zeros(2, 3, 32, 32)}, "init_images is (2, 3, 32, 32)"),
        ("deep", {"num_classes": "5"}, "num_classes is '5'"),
        ("frame", {"init": "kmeans"}, "unknown init 'kmeans'"),
        ("pixels", {"init": "mean"}, "unknown init 'mean'"),
        ("frame", {"border": 32}, "border is 32; for images of 64 x 64 it must be below 32"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(method_name: str, options: dict[str, object], message: str) -> None:
    backbone = small(VIT)
    with pytest.raises(OptionError, match=re.escape(message)):
        vpt.tune(backbone, method_name, **options)
    vpt.tune(backbone, "deep")  # the model is as it was: nothing half attached


def test_a_backbone_is_tuned_once_at_a_time() -> None:
    backbone = small(VIT)
    first = vpt.tune(backbone, "deep")
    with pytest.raises(OptionError, match=r"already tuned by vpt; call \.detach\(\)"):
        vpt.tune(backbone, "shallow")
    first.detach()
    vpt.tune(backbone, "shallow")


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_relpos_small_patch16_224"])
def test_other_models_are_refused_by_name(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    with pytest.raises(UnsupportedBackbone, match=type(model).__qualname__) as error:
        vpt.tune(model, "deep")
    assert "timm.models.eva" in str(error.value)


def test_subclasses_are_taken_while_their_forward_is_stock() -> None:
    base = type(small(VIT))

    class Named(base):
        def count(self) -> int:
            return len(self.blocks)

    class Changed(base):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x

    options = dict(img_size=32, embed_dim=48, depth=1, num_heads=3)
    assert vpt.sites.find(Named(**options)).depth == 1
    with pytest.raises(UnsupportedBackbone, match="Changed"):
        vpt.sites.find(Changed(**options))


def test_pixel_prompts_need_a_plain_patch_embedding() -> None:
    with pytest.raises(OptionError, match="plain patch embedding"):
        vpt.tune(small("hybrid"), "pixels")


def test_added_prompts_are_a_shift_of_the_patches() -> None:
    backbone = small(VIT)
    x = images(backbone)
    tuned = vpt.tune(backbone, "added", init="normal")
    shift = tuned.prompts.tokens[0].detach()
    got = tuned(x)
    tuned.detach()
    tokens = backbone._pos_embed(backbone.patch_embed(x))
    tokens[:, 1:] += shift
    torch.testing.assert_close(got, backbone.forward_head(backbone.norm(backbone.blocks(tokens))))
    assert vpt.tune(backbone, "added", shared=True).prompts.tokens.shape == (1, 1, 48)


def test_a_frame_leaves_the_middle_of_the_image() -> None:
    backbone = small(VIT)
    tuned = vpt.tune(backbone, "frame", border=5, init="normal")
    frame = tuned.prompts()
    assert frame.shape == (3, 64, 64)
    assert frame[:, 5:-5, 5:-5].count_nonzero() == 0
    assert frame.count_nonzero() == sum(p.numel() for p in tuned.prompts.parameters())
    x = images(backbone)
    got = tuned(x)
    assert torch.equal(got, tuned.detach()(x + frame))


def test_pixel_prompts_are_embedded_as_patches_are() -> None:
    backbone = small(VIT)
    x = images(backbone)
    tuned = vpt.tune(backbone, "pixels", length=2, init="normal")
    row = tuned.prompts.pixels.detach()  # two patches side by side
    page = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    page[0, :, :16, :32] = row
    embedded = backbone.patch_embed(page)[:, :2]
    torch.testing.assert_close(tuned.prompts(0, 1), embedded)
    got = tuned(x)
    tuned.detach()
    torch.testing.assert_close(got, vpt.tune(backbone, "shallow", length=2, init=embedded[0])(x))


def test_a_new_method_is_one_function() -> None:
    @method("norms")
    def norms(site: vpt.sites.Site, generator: torch.Generator) -> Learned:
        """Tune the norms."""
        own = [n for n, m in site.backbone.named_modules() if isinstance(m, nn.LayerNorm)]
        names = frozenset(n for n, _ in site.backbone.named_parameters() if n.rsplit(".", 1)[0] in own)
        return Learned(parameters=names)

    tuned = vpt.tune(small(VIT), "norms", num_classes=2)
    assert "backbone.norm.weight" in tuned.trainable()
    assert "norms" in names()


@given(depth=st.integers(1, 24), data=st.data())
@settings(max_examples=50, deadline=None)
def test_layers_first_and_last_meet(depth: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, depth))
    assert resolve(f"first:{k}", depth) + resolve(f"last:{depth - k}", depth) == resolve("all", depth)
    assert resolve(list(resolve("all", depth))[::-1], depth) == tuple(range(depth))


def test_trained_state_round_trips_and_names_misfits() -> None:
    a, b = (vpt.tune(small(VIT), "deep", length=2, num_classes=3, seed=s) for s in (0, 1))
    x = images(a.backbone)
    torch.nn.init.normal_(a.backbone.head.weight)
    b.load_trained_state(a.trained_state())
    assert torch.equal(a(x), b(x))
    state = a.trained_state()
    state["prompts.token"] = state.pop("prompts.tokens")
    state["backbone.head.bias"] = torch.zeros(4)
    with pytest.raises(vpt.errors.ArtifactError) as error:
        b.load_trained_state(state)
    for part in ("missing prompts.tokens", "unknown prompts.token", "backbone.head.bias is (4,), expected (3,)"):
        assert part in str(error.value)
