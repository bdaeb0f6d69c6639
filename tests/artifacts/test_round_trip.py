"""A saved task comes back bit for bit on its own backbone, and on no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.extras import needs_peft
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import is_artifact, load, read, save
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, BackboneMismatch, OptionError
from vpt.methods import Tuned, tune

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(7))
METHODS = {
    "linear": {},
    "full": {},
    "bias": {},
    "partial": {"blocks": 1},
    "mlp": {"layers": 2},
    "shallow": {"length": 3},
    "deep": {"length": 2, "layers": [1], "project": 5},
    "lora": {"rank": 2, "targets": "all", "dora": True},
    "adapter": {"kind": "delora", "settings": {"r": 2}},
}
PARAMETERS = [pytest.param(name, marks=needs_peft if name in ("lora", "adapter") else ()) for name in METHODS]


def backbone(seed: int = 0, **changes: int) -> VisionTransformer:
    torch.manual_seed(seed)
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    return VisionTransformer(**{**arguments, **changes}).eval()


def trained(method: str = "deep", **options: object) -> Tuned:
    """A tuned model whose every trained tensor has moved."""
    model = tune(backbone(), method, num_classes=4, **(options or METHODS[method]))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.trainable().values():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.mark.parametrize("method", PARAMETERS)
def test_logits_and_tensors_are_bit_identical(tmp_path: Path, method: str) -> None:
    model = trained(method)
    assert save(model, tmp_path / "task", classes="abcd") == tmp_path / "task"
    again = load(backbone(), tmp_path / "task")
    assert torch.equal(again(IMAGES), model(IMAGES))
    assert again.trained_state().keys() == model.trained_state().keys()
    assert all(torch.equal(again.trained_state()[k], v) for k, v in model.trained_state().items())
    assert again.options == read(tmp_path / "task").options
    assert not again.training


def test_only_trained_tensors_are_stored(tmp_path: Path) -> None:
    model = trained()
    save(model, tmp_path)
    assert load_file(tmp_path / "vpt_model.safetensors").keys() == model.trained_state().keys()
    assert {p.name for p in tmp_path.iterdir()} == {"vpt_config.json", "vpt_model.safetensors", "README.md"}


def test_prompts_that_began_as_an_array_come_back(tmp_path: Path) -> None:
    model = trained("deep", length=2, init=torch.ones(2, 16))
    save(model, tmp_path)
    assert torch.equal(load(backbone(), tmp_path)(IMAGES), model(IMAGES))
    assert read(tmp_path).options["init"] == "<array [2, 16]>"


def others() -> dict[str, VisionTransformer]:
    declared = backbone()
    declared.pretrained_cfg = {"mean": (0.1, 0.1, 0.1)}
    touched = backbone()
    with torch.no_grad():
        touched.blocks[1].mlp.fc1.weight[0, 0] += 1e-6
    return {
        "the frozen tensors": touched,
        "architecture: depth 2, here 3": backbone(depth=3),
        "preprocessing: mean": declared,
        "architecture: image_size [32, 32], here [64, 64]": backbone(img_size=64),
        "architecture: heads 2, here 4": backbone(num_heads=4),
    }


@pytest.mark.parametrize("difference", others())
def test_another_backbone_is_refused_and_left_as_it_was(tmp_path: Path, difference: str) -> None:
    save(trained("shallow"), tmp_path)
    other = others()[difference]
    images = torch.randn(2, 3, *other.patch_embed.img_size)
    before, state = other(images), {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(BackboneMismatch) as caught:
        load(other, tmp_path)
    assert difference in str(caught.value)
    assert read(tmp_path).fingerprint["digest"][:16] in str(caught.value)
    assert torch.equal(other(images), before)
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())
    assert all(p.requires_grad for p in other.parameters())


def test_force_takes_another_backbone_where_the_tensors_fit(tmp_path: Path) -> None:
    save(trained("shallow"), tmp_path)
    assert load(backbone(seed=5), tmp_path, force=True)(IMAGES).shape == (3, 4)


def test_force_cannot_make_tensors_fit(tmp_path: Path) -> None:
    save(trained("deep", length=2), tmp_path)
    other = backbone(embed_dim=32)
    with pytest.raises(ArtifactError, match="do not fit"):
        load(other, tmp_path, force=True)
    assert other(IMAGES).shape == (3, 32)


def test_fully_trained_backbones_have_nothing_frozen_to_disagree_on(tmp_path: Path) -> None:
    model = trained("full")
    save(model, tmp_path)
    assert torch.equal(load(backbone(seed=9), tmp_path)(IMAGES), model(IMAGES))


def test_the_recorded_preprocessing_is_the_one_that_was_used(tmp_path: Path) -> None:
    used = Preprocessing(size=(32, 32), mean=(0.5, 0.5, 0.5), interpolation="bilinear", antialias=False)
    save(trained(), tmp_path, preprocessing=used)
    assert Preprocessing.from_dict(read(tmp_path).preprocessing or {}) == used


def test_what_cannot_be_saved_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    model = trained()
    with pytest.raises(OptionError, match="3 names"):
        save(model, tmp_path / "a", classes=["x", "y", "z"])
    with torch.no_grad():
        model.site.backbone.head.weight[0, 0] = float("nan")
    with pytest.raises(ArtifactError, match=r"NaN.*head"):
        save(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is a file"):
        save(trained(), tmp_path / "file")
    assert not is_artifact(tmp_path)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"intended_use": 5}, "field 'intended_use' is a int"),
        ({"licence": 5}, "field 'licence' is a int"),
        ({"metrics": [1]}, "field 'metrics' is a list"),
        ({"provenance": "x"}, "field 'provenance' is a str"),
        ({"intended_use": "For the\ncaf\udce9."}, r"field 'intended_use' holds 'caf\\udce9'"),
        ({"classes": ["a", "caf\udce9", "c", "d"]}, r"field 'classes' holds 'caf\\udce9', which is no text of UTF-8"),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, facts: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        save(trained(), tmp_path / "a", **facts)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_a_path_that_is_no_text_may_stand_in_the_provenance(tmp_path: Path) -> None:
    save(trained(), tmp_path, provenance={"root": "caf\udce9"})
    assert read(tmp_path).provenance == {"root": "caf\udce9"}
    assert r"root: caf\udce9" in (tmp_path / "README.md").read_text()


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    save(trained(), tmp_path, classes="abcd", metrics={"accuracy": 0.8125}, provenance={"seed": 3})
    card = (tmp_path / "README.md").read_text()
    for part in ("`deep`", read(tmp_path).fingerprint["digest"], "4 (a, b, c, d)", "0.8125", "seed: 3", "vpt.load"):
        assert part in card


def test_the_card_takes_a_provenance_of_any_shape(tmp_path: Path) -> None:
    save(trained(), tmp_path, provenance={"backbone": "vit_tiny", "data": [1]})
    assert read(tmp_path).part("backbone") == read(tmp_path).part("absent") == {}
    assert "backbone: vit_tiny" in (tmp_path / "README.md").read_text()


def test_saving_and_loading_leave_the_random_state_alone(tmp_path: Path) -> None:
    model, other = trained("shallow"), backbone()
    state = torch.get_rng_state()
    save(model, tmp_path)
    load(other, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
