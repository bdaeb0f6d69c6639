"""Forms of a saved task: rounded, without its head; what the card and the configuration say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import load, read, save
from vpt.artifacts.schema import CARD, CONFIG, TENSORS
from vpt.errors import ArtifactError, BackboneMismatch, OptionError
from vpt.methods import Tuned, tune

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7))


def backbone(num_classes: int = 0, kind: type[VisionTransformer] = VisionTransformer) -> VisionTransformer:
    torch.manual_seed(0)
    found = kind(img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, num_classes=0)
    if num_classes:
        found.reset_classifier(num_classes)
    return found.eval()


def trained(method: str = "deep", own: int = 0) -> Tuned:
    """A tuned model with 4 classes whose every trained tensor has moved."""
    model = tune(backbone(own), method, num_classes=4, **({"length": 2} if method == "deep" else {}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.trainable().values():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model.eval()


# --- rounded ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_tensors_come_back_in_the_models_own_precision(tmp_path: Path, dtype: str) -> None:
    model = trained()
    save(model, tmp_path, dtype=dtype)
    stored, kind = load_file(tmp_path / TENSORS), getattr(torch, dtype)
    assert {tensor.dtype for tensor in stored.values()} == {kind}
    again = load(backbone(), tmp_path)
    for name, tensor in model.trained_state().items():
        assert torch.equal(again.trained_state()[name], tensor.to(kind).float())
    torch.testing.assert_close(again(IMAGES), model(IMAGES), rtol=0, atol=0.05)
    assert read(tmp_path).dtype == dtype
    assert f"rounded to {dtype}" in (tmp_path / CARD).read_text()


def test_counts_are_not_rounded(tmp_path: Path) -> None:
    model = trained("full", own=4)
    model.backbone.register_buffer("steps", torch.tensor(65537))
    save(model, tmp_path, dtype="float16")
    assert load_file(tmp_path / TENSORS)["backbone.steps"] == 65537


def test_values_that_would_become_infinite_are_named(tmp_path: Path) -> None:
    model = trained()
    with torch.no_grad():
        model.prompts.tokens[0, 0, 0] = 7e4
    with pytest.raises(OptionError, match=r"'float16' ends at 65504; .*: prompts\.tokens$"):
        save(model, tmp_path / "a", dtype="float16")
    with pytest.raises(OptionError, match=r"unknown dtype 'float61' \(did you mean 'float16'"):
        save(model, tmp_path / "a", dtype="float61")
    assert not (tmp_path / "a").exists()
    save(model, tmp_path / "a", dtype="bfloat16")


def test_a_model_of_lower_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    model = trained()
    with torch.no_grad():
        model.backbone.head.bias[0] = 7e4
    save(model, tmp_path)
    half = backbone().half()
    with pytest.raises(ArtifactError, match=r"precision cannot hold the values of backbone\.head\.bias"):
        load(half, tmp_path, force=True)
    assert not hasattr(half.head, "weight"), "nothing is left on it"


# --- without its head -------------------------------------------------------------------------------


def test_prompts_alone_meet_the_backbones_own_head_as_it_is(tmp_path: Path) -> None:
    model = trained()
    save(model, tmp_path, head=False)
    assert load_file(tmp_path / TENSORS).keys() == {"prompts.tokens"}
    other = backbone(7)
    weight = other.head.weight.clone()
    again = load(other, tmp_path)
    assert again(IMAGES).shape == (3, 7)
    assert torch.equal(again.backbone.head.weight, weight)
    assert torch.equal(again.prompts.tokens, model.prompts.tokens)
    features = load(backbone(), tmp_path)
    assert features(IMAGES).shape == (3, 8)
    torch.testing.assert_close(again(IMAGES), features(IMAGES) @ weight.T + other.head.bias)


@pytest.mark.parametrize("own", [0, 4, 7])
def test_a_fresh_head_is_zero_and_can_be_trained(tmp_path: Path, own: int) -> None:
    save(trained(), tmp_path, head=False)
    model = load(backbone(own), tmp_path, num_classes=4)
    assert torch.equal(model(IMAGES), torch.zeros(3, 4))
    assert model.trainable().keys() == {"backbone.head.weight", "backbone.head.bias", "prompts.tokens"}


def test_both_heads_of_a_distilled_model_are_left_out(tmp_path: Path) -> None:
    model = tune(backbone(kind=VisionTransformerDistilled), "shallow", num_classes=4, length=1)
    save(model, tmp_path, head=False)
    assert load_file(tmp_path / TENSORS).keys() == {"prompts.tokens"}
    assert load(backbone(kind=VisionTransformerDistilled), tmp_path, num_classes=3)(IMAGES).shape == (3, 3)


def test_biases_alone_are_a_task_too(tmp_path: Path) -> None:
    model = trained("bias")
    save(model, tmp_path, head=False)
    again = load(backbone(), tmp_path)
    assert torch.equal(again.trained_state()["backbone.norm.bias"], model.trained_state()["backbone.norm.bias"])


def test_it_is_bound_to_its_backbone_as_others_are(tmp_path: Path) -> None:
    save(trained(), tmp_path, head=False)
    other = backbone(5)
    with torch.no_grad():
        other.norm.bias[0] += 1
    with pytest.raises(BackboneMismatch, match="the frozen tensors"):
        load(other, tmp_path)
    assert load(other, tmp_path, force=True)(IMAGES).shape == (3, 5)


def test_what_can_have_no_such_form_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="leaves nothing of method 'linear'"):
        save(trained("linear"), tmp_path, head=False)
    with pytest.raises(OptionError, match="classes given with head=False"):
        save(trained(), tmp_path, classes="abcd", head=False)
    save(trained(), tmp_path)
    with pytest.raises(OptionError, match=r"num_classes is 5; .* has a head, of 4"):
        load(backbone(), tmp_path, num_classes=5)
    assert load(backbone(), tmp_path, num_classes=4)(IMAGES).shape == (3, 4)
    save(trained(), tmp_path, head=False)
    with pytest.raises(OptionError, match="num_classes is -1; accepted: 1 or more"):
        load(backbone(), tmp_path, num_classes=-1)


def test_ten_prompts_in_each_block_of_a_base_model_are_370_kilobytes(tmp_path: Path) -> None:
    base = VisionTransformer(img_size=32, embed_dim=768, depth=12, num_heads=12, mlp_ratio=0.01, weight_init="skip")
    for dtype, size in ((None, 4), ("float16", 2)):
        tokens = 12 * 10 * 768 * size
        model = tune(base, "deep", num_classes=100, length=10)
        save(model, tmp_path, dtype=dtype, head=False)
        model.detach()
        assert sum(tensor.nbytes for tensor in load_file(tmp_path / TENSORS).values()) == tokens
        assert 0 < (tmp_path / TENSORS).stat().st_size - tokens < 300


# --- what is said -----------------------------------------------------------------------------------


def test_a_plain_task_is_written_as_before(tmp_path: Path) -> None:
    save(trained(), tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["schema"] == 1
    assert not content.keys() & {"dtype", "head", "licence", "intended_use", "tokenizer"}


@pytest.mark.parametrize("said", [{"dtype": "float16"}, {"head": False}, {"licence": "MIT"}, {"intended_use": "Play."}])
def test_only_what_is_said_needs_the_later_schema(tmp_path: Path, said: dict[str, object]) -> None:
    save(trained(), tmp_path, **said)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["schema"] == 3
    assert {name: content[name] for name in said} == said
    assert {name: getattr(read(tmp_path), name) for name in said} == said


@pytest.mark.parametrize(
    ("licence", "front"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("NO", {"license": "no"}),
        ('ours: "ask" first', {"license": "other", "license_name": 'ours: "ask" first'}),
        (None, {}),
    ],
)
def test_the_cards_front_matter_is_read_as_it_was_meant(
    tmp_path: Path, licence: str | None, front: dict[str, str]
) -> None:
    save(trained(), tmp_path, licence=licence)
    text = (tmp_path / CARD).read_text()
    read_as = yaml.safe_load(text.split("---")[1])
    assert {name: value for name, value in read_as.items() if name.startswith("license")} == front
    assert f"**Licence**: {licence or 'unspecified'}" in text


def test_the_card_says_all_that_a_stranger_asks(tmp_path: Path) -> None:
    digests = {"train": "12ab", "test": "34cd"}
    made = {"seed": 3, "data": {"digests": digests, "route": "folder"}}
    use = "Flowers of one garden."
    save(trained(), tmp_path, metrics={"accuracy": 0.8125}, provenance=made, intended_use=use, head=False)
    text = (tmp_path / CARD).read_text()
    for part in (use, "- train: `12ab`", "- test: `34cd`", "seed: 3", "torch: ", "without the head", "num_classes=10"):
        assert part in text
    assert "vpt predict" not in text
    assert read(tmp_path).classes is None
    assert read(tmp_path).num_classes == 0
