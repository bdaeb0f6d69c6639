"""Backbones by name, with and without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from vpt.backbones import embedded, hub, load, load_backbone, names
from vpt.backbones.embedded import WEIGHTS, build
from vpt.errors import ArtifactError, OptionError, WeightsUnavailable

TINY = "vit_tiny_patch16_224"
SHARED = Path(__file__).parents[3] / "shared" / "weights" / f"{TINY}.safetensors"


@pytest.fixture
def package_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary embedded weights with a head of 200 classes and their record, in place of the package's."""
    path = tmp_path / WEIGHTS.name
    torch.manual_seed(0)
    save_file(build(200).state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    monkeypatch.setattr(sys.modules[build.__module__], "WEIGHTS", path)  # its name in the package is the function
    return path


def test_embedded_is_the_recorded_weights_without_their_head(package_weights: Path) -> None:
    torch.manual_seed(0)
    source, images = build(200).eval(), torch.randn(2, 3, 64, 64)
    assert torch.equal(embedded()(images), source.forward_head(source.forward_features(images), pre_logits=True))
    assert load_backbone("embedded", num_classes=200).head.weight.shape == (200, 128)
    assert not torch.equal(embedded(200).head.weight, source.head.weight)
    assert embedded().pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    assert embedded(image_size=96)(torch.randn(1, 3, 96, 96)).shape == (1, 128)
    assert embedded(image_size=96).default_cfg["input_size"] == (3, 96, 96)


def test_a_flipped_bit_or_a_missing_record_is_refused(package_weights: Path) -> None:
    content = bytearray(package_weights.read_bytes())
    content[-1] ^= 1
    package_weights.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="damaged"):
        embedded()
    package_weights.with_suffix(".json").write_text("{}")
    with pytest.raises(ArtifactError, match="sha256"):
        embedded()
    package_weights.with_suffix(".json").unlink()
    with pytest.raises(WeightsUnavailable, match="pretrain_embedded"):
        embedded()


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="this checkout has no embedded weights yet")
def test_the_packages_own_weights_load_and_are_small() -> None:
    assert embedded()(torch.zeros(1, 3, 64, 64)).isfinite().all()
    assert WEIGHTS.stat().st_size <= 12 * 2**20
    assert WEIGHTS.with_suffix(".md").is_file()


@pytest.mark.parametrize(
    ("given", "meant"),
    [("vit_tiny_patch16_244", TINY), ("embeded", "embedded"), (f"{TINY}.augreg_in21", f"{TINY}.augreg_in21k")],
)
def test_a_misspelt_name_is_met_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        load_backbone(given)


def test_every_listed_name_of_timms_is_a_timm_model() -> None:
    assert names()[0] == "embedded"
    listed = [name for name in names()[1:] if load.family_of(name) == "timm"]
    assert all(timm.is_model(n) for n in listed)
    assert f"{TINY}.augreg_in21k_ft_in1k" in names(pretrained=True)
    assert set(load.MODULES) == {timm.models.model_entrypoint(n).__module__.split(".")[-1] for n in listed}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache, and any attempt to open a connection fails the test."""
    monkeypatch.setattr(hub, "cached_file", lambda cfg: None)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.usefixtures("no_network")
def test_offline_names_the_file_to_supply_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable) as caught:
        load_backbone(TINY)
    for part in ("HF_HUB_OFFLINE", "--checkpoint model.safetensors", "timm/vit_tiny_patch16_224"):
        assert part in str(caught.value)


def test_an_unreachable_host_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "cached_file", lambda cfg: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(WeightsUnavailable, match=r"127\.0\.0\.1:9 does not answer"):
        load_backbone(TINY)


def test_cached_weights_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model(TINY).state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "cached_file", lambda cfg: tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "_reach", lambda *_: pytest.fail("the network was asked"))
    torch.manual_seed(0)
    expected = timm.create_model(TINY)
    assert torch.equal(load_backbone(TINY, num_classes=1000).head.weight, expected.head.weight)


def test_the_hub_cache_is_found_by_its_layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cfg = timm.get_pretrained_cfg(TINY)
    snapshot = tmp_path / "models--timm--vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("abc")
    (snapshot / "snapshots" / "abc" / "model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub.cached_file(cfg) == snapshot / "snapshots" / "abc" / "model.safetensors"
    shutil.rmtree(snapshot)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert hub.cached_file(cfg) is None


def test_an_image_size_that_cannot_be_is_named() -> None:
    with pytest.raises(OptionError, match="resnet18"):
        load_backbone("resnet18", image_size=32, pretrained=False)


def test_declared_normalisation_replaces_the_models_own() -> None:
    model = load_backbone(TINY, image_size=32, pretrained=False)
    load.declare_normalisation(model, (0.1, 0.2, 0.3), None)
    assert model.pretrained_cfg["mean"] == model.default_cfg["mean"] == (0.1, 0.2, 0.3)
    assert model.pretrained_cfg["std"] == (0.5, 0.5, 0.5)
    other = load_backbone(TINY, image_size=32, pretrained=False)
    assert other.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)


@pytest.mark.skipif(not SHARED.is_file(), reason="needs ../shared/weights")
def test_headless_weights_of_an_imagenet_model_load() -> None:
    model = load_backbone(TINY, checkpoint=SHARED, image_size=64)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 192)
