"""A plain timm model gives the tuned model's logits, with no vpt; what timm has no place for is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from support.extras import needs_peft
from support.matrix import images, small
from support.tuned_clips import moved as moved_clip
from timm.models.vision_transformer import VisionTransformer

import vpt
from vpt.errors import ArtifactError, OptionError
from vpt.export import to_timm

NO_REGISTERS = {
    "beit_base_patch16_224": "which this class has not",
    "beit, one bias for all blocks": "which this class has not",
    "beit, both biases": "which this class has not",
    "deit_base_distilled_patch16_224": "which this class has not",
    "vit_pe_lang_gigantic_patch14_448": "the norm before its first block",
    "vit_pe_lang_large_patch14_448": "the norm before its first block",
    "vit_pe_core_gigantic_patch14_448": "the norm before its first block",
    "vit_pe_core_base_patch16_224": "the norm before its first block",
    "vit_base_patch16_xp_224": "the norm before its first block",
    "test_vit3": "its pooling reads register tokens",
    "attention pooling with prefix": "its pooling reads register tokens",
}
"""The variants whose shallow prompts are no register tokens, and why."""

REGISTERS = (
    "eva02_base_patch14_224",  # Eva, mean of patches
    "vit_7b_patch16_dinov3",  # 4 registers, no positions
    "vit_5b_patch16_sapiens2",  # 8 registers, grouped-query attention
    "mixed rotary",  # Eva whose positions leave the prefix out
    "aimv2_1b_patch14_224",  # no prefix
    "vit_base_patch16_reg4_gap_256",  # registers only
    "vit_so150m_patch16_reg4_map_256",  # attention pooling, positions for the prefix too
    "flexivit_base",  # the plain ViT
    "vit_base_patch16_18x2_224",  # parallel things, positions for the prefix too
    "vit_dpwee_patch16_reg1_gap_256",  # differential, parallel
    "hybrid",
    "oblong",
)
"""Of the others, which are all alike in that, one of each class, prefix, pooling and kind of positions."""

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "full": ("full", {}),
    "bias": ("bias", {}),
    "partial": ("partial", {}),
    "pixels": ("pixels", {"length": 2, "init": "normal"}),
    "added": ("added", {"init": "normal"}),
    "added, shared": ("added", {"init": "normal", "shared": True}),
    "frame": ("frame", {"init": "normal"}),
    "lora": ("lora", {"rank": 2, "targets": "all", "dora": True}),
    "oft": ("adapter", {"kind": "oft", "settings": {"oft_block_size": 8}}),
}
NEED_PEFT = ("lora", "oft")


def tuned(name: str, method: str, **options: Any) -> vpt.Tuned:
    """A tuned model in float64, its every trained tensor moved."""
    model = vpt.tune(small(name), method, num_classes=4, head_init="normal", **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.trainable().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def rebuilt(folder: Path) -> Any:
    """timm's own model of a folder, in float64."""
    model = timm.create_model(f"local-dir:{folder}").double().eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def assert_same(folder: Path, model: vpt.Tuned) -> None:
    x = images(model.backbone, batch=3)
    expected = model(x).detach()
    torch.testing.assert_close(rebuilt(folder)(x), expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("variant", REGISTERS)
def test_shallow_prompts_are_register_tokens(tmp_path: Path, variant: str) -> None:
    model = tuned(variant, "shallow", length=3, init="normal", path="hooks")
    assert_same(to_timm(model, tmp_path), model)


@pytest.mark.parametrize("variant", NO_REGISTERS)
def test_where_they_are_not_the_reason_is_said(tmp_path: Path, variant: str) -> None:
    model = tuned(variant, "shallow", length=3)
    with pytest.raises(OptionError, match=f"{NO_REGISTERS[variant]}.*to_onnx"):
        to_timm(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["flexivit_base", "vit_base_patch16_reg4_gap_256", "eva02_base_patch14_224"])
@pytest.mark.parametrize("case", [pytest.param(c, marks=needs_peft if c in NEED_PEFT else ()) for c in METHODS])
def test_what_was_learned_stands_in_timms_own_tensors(tmp_path: Path, name: str, case: str) -> None:
    method, options = METHODS[case]
    model = tuned(name, method, **options)
    assert_same(to_timm(model, tmp_path), model)


def test_both_heads_of_a_distilled_model_are_taken(tmp_path: Path) -> None:
    model = tuned("deit_base_distilled_patch16_224", "added", init="normal")
    assert_same(to_timm(model, tmp_path), model)


@pytest.mark.parametrize(
    ("name", "method", "options", "reason"),
    [
        ("flexivit_base", "deep", {}, "enter the first block alone"),
        ("flexivit_base", "mlp", {}, "its head is a Sequential"),
        ("flexivit_base", "shallow", {"pool": "prompts"}, "it pools 'prompts'"),
        ("flexivit_base", "added", {"layers": [1]}, "added before the first block alone"),
        ("vit_base_patch16_rope_224", "added", {}, "no positions to add them to"),
        ("vit_base_patch16_xp_224", "added", {}, "a norm between its positions"),
        ("aimv2_1b_patch14_224", "frame", {}, "behind a plain patch embedding"),
    ],
)
def test_what_timm_has_no_place_for_is_refused(
    tmp_path: Path, name: str, method: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=f"'{method}' on this .* is no timm model: .*{reason}.*to_program"):
        to_timm(tuned(name, method, **options), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_clip_is_no_timm_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="its classes are texts"):
        to_timm(moved_clip("coop"), tmp_path)


def test_a_process_with_timm_alone_gives_the_logits(tmp_path: Path) -> None:
    backbone = vpt.load_backbone("embedded", pretrained=False, image_size=32)
    model = vpt.tune(backbone, "shallow", length=3, init="normal", num_classes=4, head_init="normal").eval()
    folder = to_timm(model, tmp_path / "out", classes="abcd")
    x = images(backbone).float()
    save_file({"images": x}, tmp_path / "x.safetensors")
    program = f"""
import sys, timm
from safetensors.torch import load_file, save_file
model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
logits = model(load_file("{tmp_path}/x.safetensors")["images"])
save_file({{"logits": logits.detach()}}, "{tmp_path}/y.safetensors")
assert "vpt" not in sys.modules
data = timm.data.resolve_model_data_config(model)
assert data["input_size"] == (3, 32, 32) and data["crop_pct"] == 1.0 and data["interpolation"] == "bilinear", data
assert model.pretrained_cfg["label_names"] == list("abcd")
"""
    subprocess.run([sys.executable, "-I", "-c", program], check=True, cwd=tmp_path)
    expected = model(x).detach()
    got = load_file(tmp_path / "y.safetensors")["logits"]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_backbone_that_does_not_say_how_it_was_made_needs_a_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = vpt.tune(VisionTransformer(**made).double(), "linear", num_classes=4, head_init="normal").eval()
    with pytest.raises(OptionError, match="does not say which of timm's architectures"):
        to_timm(model, tmp_path)
    with pytest.raises(OptionError, match="did you mean 'vit_tiny_patch16_224'"):
        to_timm(model, tmp_path, name="vit_tiny_patch16_22")
    with pytest.raises(OptionError, match=r"with .* is another model: .*give name= and arguments="):
        to_timm(model, tmp_path, name="vit_tiny_patch16_224")
    with pytest.raises(OptionError, match="cannot be written as JSON"):
        to_timm(model, tmp_path, name="vit_tiny_patch16_224", arguments={**made, "norm_layer": torch.nn.LayerNorm})
    with pytest.raises(ArtifactError, match="is not left"):  # the same tensors, read by other heads
        to_timm(model, tmp_path, name="vit_tiny_patch16_224", arguments={**made, "num_heads": 4})
    assert not list(tmp_path.iterdir())
    assert_same(to_timm(model, tmp_path, name="vit_tiny_patch16_224", arguments=made), model)


def test_the_configuration_is_timms_and_says_what_vpt_knows(tmp_path: Path) -> None:
    shown = vpt.Preprocessing(size=(64, 64), mean=(0.1, 0.2, 0.3), interpolation="bilinear")
    to_timm(tuned("flexivit_base", "linear"), tmp_path, classes="abcd", preprocessing=shown)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["label_names"]) == ("flexivit_base", 4, list("abcd"))
    assert config["pretrained_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert config["vpt"]["preprocessing"] == shown.to_dict()
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes.keys() == {"config.json", "model.safetensors"}
    (tmp_path / "any").touch()
    assert set(modes.values()) == {(tmp_path / "any").stat().st_mode}
