"""Weights from a file: all of them, or one error that lists what does not fit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from vpt.backbones import load_backbone
from vpt.errors import OptionError, WeightsUnavailable

TINY = "vit_tiny_patch16_224"


def tiny(num_classes: int = 7, size: int = 32, name: str = TINY) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=num_classes, img_size=size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    return model.eval()


def write(model: torch.nn.Module, path: Path, **extra: torch.Tensor) -> Path:
    save_file({**model.state_dict(), **extra}, path)
    return path


@pytest.mark.parametrize("wrap", ["safetensors", "plain", "state_dict", "model", "ddp"])
def test_every_common_wrapping_gives_the_same_model(tmp_path: Path, wrap: str) -> None:
    source = tiny()
    state = source.state_dict()
    path = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pth")
    if wrap == "safetensors":
        save_file(state, path)
    elif wrap == "ddp":
        torch.save({f"module.{k}": v for k, v in state.items()}, path)
    else:
        torch.save(state if wrap == "plain" else {wrap: state, "epoch": 3}, path)
    loaded = load_backbone(TINY, checkpoint=path, num_classes=7, image_size=32)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), source(images))
    assert not loaded.training


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_head_of_other_classes_is_left_out_with_a_note(
    tmp_path: Path, num_classes: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, images = write(tiny(7), tmp_path / "w.safetensors"), torch.randn(2, 3, 32, 32)
    with caplog.at_level(logging.INFO, "vpt"):
        loaded = load_backbone(TINY, checkpoint=path, num_classes=num_classes, image_size=32)
    assert "its head 'head' (7 classes) is left out" in caplog.text
    assert torch.equal(loaded.forward_features(images), tiny(7).forward_features(images))


def test_both_heads_of_a_distilled_model_are_left_out(tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    path = write(tiny(7, name=name), tmp_path / "w.safetensors")
    assert load_backbone(name, checkpoint=path, num_classes=3, image_size=32).head_dist.out_features == 3


@pytest.mark.parametrize("name", [TINY, "eva02_tiny_patch14_224"])
def test_another_image_size_is_timms_own_resampling(tmp_path: Path, name: str) -> None:
    patch = 16 if name == TINY else 14
    path = write(tiny(0, 4 * patch, name), tmp_path / "w.safetensors")
    overlay = {"file": str(path), "custom_load": False, "num_classes": 0}
    expected = timm.create_model(
        name, pretrained=True, num_classes=0, img_size=6 * patch, pretrained_cfg_overlay=overlay
    ).eval()
    loaded = load_backbone(name, checkpoint=path, image_size=6 * patch)
    images = torch.randn(1, 3, 6 * patch, 6 * patch)
    assert torch.equal(loaded(images), expected(images))
    assert loaded.pretrained_cfg["input_size"] == (3, 6 * patch, 6 * patch)


def test_foreign_weights_are_one_error_that_lists_each_kind(tmp_path: Path) -> None:
    state = tiny(0).state_dict()
    state["norm.weight"] = torch.zeros(5)
    state["surplus"] = torch.zeros(1)
    del state["blocks.3.mlp.fc1.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(OptionError) as caught:
        load_backbone(TINY, checkpoint=tmp_path / "w.safetensors", image_size=32)
    for part in ("missing: blocks.3.mlp.fc1.bias", "not in the model: surplus", "norm.weight (5,), not (192,)"):
        assert part in str(caught.value)


def test_weights_of_another_architecture_do_not_load(tmp_path: Path) -> None:
    path = write(timm.create_model("resnet18", num_classes=0), tmp_path / "w.safetensors")
    with pytest.raises(OptionError, match=r"and \d+ more"):
        load_backbone(TINY, checkpoint=path, image_size=32)


class Payload:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/never"),))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(write(tiny(0), tmp_path / "w.safetensors").read_bytes()[:1000])
    (tmp_path / "cut.pth").write_bytes(b"not a zip")
    torch.save({"state_dict": {}, "callback": Payload()}, tmp_path / "objects.pth")
    for name in ("absent.pth", "cut.safetensors", "cut.pth", "objects.pth"):
        with pytest.raises(WeightsUnavailable, match=name):
            load_backbone(TINY, checkpoint=tmp_path / name, image_size=32)
    (tmp_path / "weights.npz").touch()
    with pytest.raises(OptionError, match=r"\.safetensors"):
        load_backbone(TINY, checkpoint=tmp_path / "weights.npz")
