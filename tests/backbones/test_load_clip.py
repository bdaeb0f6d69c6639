"""open_clip models by name, with and without a network, and their tokenizers."""

from __future__ import annotations

import json
import logging
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.small_clips import CONFIG, TAG, package_weights, register, weights

from vpt.backbones import clip_hub, clip_names, embedded_clip, load, load_backbone, load_tokenizer, names
from vpt.backbones.clip_names import ClipName, parse
from vpt.backbones.embedded_clip import ROWS, TABLE, WEIGHTS
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, OptionError, WeightsUnavailable

TINY, LEARNED = "open_clip/tiny", "open_clip/tiny.learned"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with weights of the model that open_clip now knows as `tiny`."""
    register(monkeypatch)
    weights(tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub; any attempt to open a connection fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def snapshot(cache: Path, repository: str, *files: Path) -> None:
    """Put files where the hub's own client keeps them."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    for file in files:
        (place / "snapshots" / "abc" / file.name).write_bytes(file.read_bytes())


def same(model: Any, state: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], tensor) for name, tensor in state.items())


# --- names ------------------------------------------------------------------------------------------


def test_open_clips_models_are_listed_after_timms_and_the_embedded_one_first() -> None:
    listed = names()
    assert listed[:2] == ["embedded", "embedded-clip"]
    assert {"open_clip/ViT-B-32", "open_clip/ViT-B-16-SigLIP"} <= set(listed)
    tagged = names(pretrained=True)
    assert {"open_clip/ViT-B-32.openai", "open_clip/ViT-L-14.datacomp_xl_s13b_b90k"} <= set(tagged)
    for name in (n for n in [*listed, *tagged] if n.startswith("open_clip/")):
        load.check_name(name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ViT-B-32", "did you mean 'open_clip/ViT-B-32'"),
        ("open_clip/ViT-B-23", "did you mean 'open_clip/ViT-B-32'"),
        ("open_clip/ViT-B-16.openia", "did you mean 'open_clip/ViT-B-16.openai'"),
        ("embedded_clip", "did you mean 'embedded-clip'"),
        ("open_clip/ViT-S-32-alt.openai", "ViT-S-32-alt has no published weights"),
        ("open_clip/local-dir:/nowhere", "there is no open_clip_config.json in the folder '/nowhere'"),
        ("open_clip/hf-hub:somebody", "accepted after hf-hub: is OWNER/REPOSITORY"),
    ],
)
def test_a_name_that_does_not_exist_is_met_with_what_would(given: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        load_backbone(given)
    with pytest.raises(OptionError):
        load_tokenizer(given)


@given(st.text("abcXYZ019-_", min_size=1), st.none() | st.text("abcxyz019_"))
def test_a_name_is_its_architecture_and_its_tag(model: str, tag: str | None) -> None:
    assert parse(f"open_clip/{model}" + ("" if tag is None else f".{tag}")) == ClipName(model, tag)
    assert load.family_of(f"open_clip/{model}") == "open_clip"
    assert load.family_of(model) == "timm"


def test_without_open_clip_its_models_are_not_listed_and_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_names, "find_spec", lambda name: None)
    assert not [name for name in names() if "clip/" in name or name == "embedded-clip"]
    for name in ("embedded-clip", "open_clip/ViT-B-32"):
        with pytest.raises(OptionError, match=r"pip install 'vpt\[clip\]'"):
            load_backbone(name)


def test_a_clip_has_no_head_to_ask_for() -> None:
    with pytest.raises(OptionError, match="its classes are names"):
        load_backbone("embedded-clip", num_classes=10, pretrained=False)


# --- the embedded one -------------------------------------------------------------------------------


def test_the_embedded_clip_is_its_recorded_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = package_weights(tmp_path / "clip.safetensors", monkeypatch)
    found: Any = load_backbone("embedded-clip")
    ids = state.pop(ROWS)
    assert torch.equal(found.token_embedding.weight[ids], state.pop(TABLE).float())
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in state.items())
    assert not found.training
    assert Preprocessing.of(found).to_dict()["size"] == [64, 64]
    larger: Any = embedded_clip(96)
    assert larger.encode_image(torch.zeros(1, 3, 96, 96)).shape == (1, 128)
    assert Preprocessing.of(larger).size == (96, 96)
    (tmp_path / "clip.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="damaged"):
        load_backbone("embedded-clip")


def test_the_embedded_architecture_takes_other_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    made: Any = embedded_clip(pretrained=False)
    save_file({name: tensor.clone() for name, tensor in made.state_dict().items()}, tmp_path / "mine.safetensors")
    assert same(load_backbone("embedded-clip", checkpoint=tmp_path / "mine.safetensors"), made.state_dict())
    smaller: Any = load_backbone("embedded-clip", checkpoint=tmp_path / "mine.safetensors", image_size=32)
    assert smaller.visual.positional_embedding.shape == (17, 128)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="this checkout has no embedded CLIP weights yet")
def test_the_packages_own_weights_load_and_are_small() -> None:
    found: Any = embedded_clip()
    assert found.encode_image(torch.zeros(1, 3, 64, 64)).isfinite().all()
    assert WEIGHTS.stat().st_size <= 12 * 2**20


# --- weights ----------------------------------------------------------------------------------------


def test_a_file_fills_the_model_and_a_tag_brings_its_activation_and_preprocessing(tiny: Path) -> None:
    plain: Any = load_backbone(TINY, checkpoint=tiny)
    tagged: Any = load_backbone(LEARNED, checkpoint=tiny)
    assert same(plain, weights(tiny))
    assert same(tagged, plain.state_dict())
    kinds = [type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ for model in (plain, tagged)]
    assert kinds == ["GELU", "QuickGELU"]
    assert Preprocessing.of(tagged).mean == TAG["mean"]
    assert Preprocessing.of(tagged).std == TAG["std"]
    assert not torch.equal(*(model.encode_image(torch.ones(1, 3, 16, 16)) for model in (plain, tagged)))


def test_every_published_tag_gets_the_activation_that_it_was_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, bool] = {}

    def create_model(model: str, file: str | None, *, force_quick_gelu: bool, **_: Any) -> Any:
        asked[model] = open_clip.get_model_config(model).get("quick_gelu", False) or force_quick_gelu
        return torch.nn.Module()

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setattr(torch.nn.Module, "visual", None, raising=False)
    for model, tag in open_clip.list_pretrained():
        if "hf_model_name" not in open_clip.get_model_config(model)["text_cfg"]:
            load_backbone(f"open_clip/{model}.{tag}", pretrained=False)
            known = open_clip.pretrained.get_pretrained_cfg(model, tag)
            assert asked[model] == bool(known.get("quick_gelu")), (model, tag)


def test_another_image_size_resamples_the_positions(tiny: Path) -> None:
    found: Any = load_backbone(TINY, checkpoint=tiny, image_size=32)
    assert found.visual.positional_embedding.shape == (17, 16)
    assert Preprocessing.of(found).size == (32, 32)
    with pytest.raises(OptionError, match="less than one of its patches"):
        load_backbone(TINY, pretrained=False, image_size=4)


def test_weights_that_are_not_the_models_are_told_from_files_that_cannot_be_read(tiny: Path) -> None:
    folder = tiny.parent
    weights(folder / "wide.safetensors", text_cfg={**CONFIG["text_cfg"], "width": 16})
    weights(folder / "deep.safetensors", vision_cfg={**CONFIG["vision_cfg"], "layers": 2})
    for other in ("wide", "deep"):
        with pytest.raises(OptionError, match=f"{other}.safetensors are not those of {TINY}"):
            load_backbone(TINY, checkpoint=folder / f"{other}.safetensors")
    (folder / "junk.safetensors").write_bytes(b"no tensors")
    torch.save({"model": torch.nn.Linear(1, 1)}, folder / "objects.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), folder / "program.pt")
    for name, said in (
        ("junk.safetensors", "cannot be read"),
        ("objects.pt", "blocked loading|Python objects"),
        ("program.pt", "TorchScript archive"),
        ("absent.pt", "not a file on this machine"),
    ):
        with pytest.raises(WeightsUnavailable, match=said):
            load_backbone(TINY, checkpoint=folder / name)
    (folder / "weights.zip").touch()
    with pytest.raises(OptionError, match=r"accepted: \.safetensors.*\.npz"):
        load_backbone(TINY, checkpoint=folder / "weights.zip")


def test_a_name_without_a_tag_names_no_weights(tiny: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"open_clip/tiny\.TAG"):
        load_backbone(TINY)
    assert load_backbone(TINY, pretrained=False) is not None


def test_a_folder_with_a_configuration_is_a_backbone(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    name = f"open_clip/local-dir:{tmp_path}"
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        load_backbone(name)
    state = weights(tmp_path / "open_clip_model.safetensors")
    assert same(load_backbone(name), state)
    assert not same(load_backbone(name, pretrained=False), state)
    other = weights(tmp_path.parent / "other.safetensors", seed=1)
    assert same(load_backbone(name, checkpoint=tmp_path.parent / "other.safetensors"), other)
    assert load_tokenizer(name)(["a cat"]).shape == (1, 20)


def test_declared_normalisation_replaces_the_models_own(tiny: Path) -> None:
    found = load_backbone(TINY, checkpoint=tiny)
    load.declare_normalisation(found, (0.4, 0.5, 0.6), None)
    assert Preprocessing.of(found).mean == (0.4, 0.5, 0.6)
    assert Preprocessing.of(found).std == Preprocessing.of(load_backbone(TINY, checkpoint=tiny)).std


def test_loading_leaves_pythons_logging_as_it_was(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    load_backbone(TINY, checkpoint=tiny)
    load_tokenizer(TINY)
    assert root.handlers == []


# --- the hub ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_network", "tiny")
def test_offline_names_the_file_to_supply_and_asks_nobody() -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        load_backbone(LEARNED)
    for part in ("HF_HUB_OFFLINE", "--checkpoint open_clip_model.safetensors", "huggingface.co/somebody/tiny"):
        assert part in str(caught.value)
    with pytest.raises(WeightsUnavailable, match="open_clip/local-dir:FOLDER"):
        load_backbone("open_clip/hf-hub:somebody/tiny")


@pytest.mark.usefixtures("tiny")
def test_an_unreachable_host_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(WeightsUnavailable, match=r"127\.0\.0\.1:9 does not answer"):
        load_backbone(LEARNED)


def test_cached_weights_need_no_network(no_network: Path, tiny: Path) -> None:
    file = tiny.rename(tiny.with_name(clip_hub.SAFE))
    snapshot(no_network, "somebody/tiny", file)
    assert same(load_backbone(LEARNED), weights(file))
    (tiny.parent / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    snapshot(no_network, "somebody/whole", file, tiny.parent / "open_clip_config.json")
    assert same(load_backbone("open_clip/hf-hub:somebody/whole"), weights(file))
    assert load_tokenizer("open_clip/hf-hub:somebody/whole")(["a cat"]).shape == (1, 20)


@pytest.mark.usefixtures("no_network")
def test_a_hugging_face_text_tower_needs_its_configuration() -> None:
    with pytest.raises(WeightsUnavailable, match="roberta-base of Hugging Face's transformers"):
        load_backbone("open_clip/roberta-ViT-B-32", pretrained=False)


# --- tokenizers -------------------------------------------------------------------------------------


def test_the_embedded_clip_has_clips_own_tokenizer() -> None:
    found = load_tokenizer("embedded-clip")
    assert torch.equal(found(["a sea lion"]), open_clip.tokenize(["a sea lion"]))
    with pytest.raises(OptionError, match="needs no files"):
        load_tokenizer("embedded-clip", Path("folder"))


def hugging_face_words(folder: Path) -> None:
    """The files of a tokenizer of Hugging Face's that knows "a" and "cat"."""
    transformers = pytest.importorskip("transformers", reason="needs Hugging Face's transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "cat": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    made.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')  # the cache is asked for it


def test_a_repository_and_its_tokenizer_come_from_the_cache(no_network: Path, tmp_path: Path) -> None:
    hugging_face_words(tmp_path / "words")
    model = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_tokenizer_name": "somebody/words"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    weights(tmp_path / clip_hub.SAFE)
    snapshot(no_network, "somebody/whole", tmp_path / "open_clip_config.json", tmp_path / clip_hub.SAFE)
    name = "open_clip/hf-hub:somebody/whole"
    with pytest.raises(WeightsUnavailable, match=r"huggingface\.co/somebody/words.*backbone\.tokenizer"):
        load_tokenizer(name)
    assert load_tokenizer(name, tmp_path / "words")(["a cat"]).tolist() == [[2, 3] + [0] * 18]
    snapshot(no_network, "somebody/words", *(tmp_path / "words").iterdir())
    assert load_tokenizer(name)(["a cat"]).tolist() == [[2, 3] + [0] * 18]


def test_a_folder_has_its_own_tokenizer(tmp_path: Path) -> None:
    hugging_face_words(tmp_path)
    model = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_tokenizer_name": "somebody/words"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    assert load_tokenizer(f"open_clip/local-dir:{tmp_path}")(["a cat"]).tolist() == [[2, 3] + [0] * 18]


@pytest.mark.usefixtures("no_network")
def test_a_tokenizer_of_hugging_faces_comes_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face_words(tmp_path / "words")
    register(monkeypatch, hf_tokenizer_name="somebody/words", tokenizer_kwargs={"clean": "canonicalize"})
    assert load_tokenizer(TINY, tmp_path / "words")(["A cat!"]).tolist() == [[2, 3] + [0] * 18]
    with pytest.raises(WeightsUnavailable, match=r"huggingface\.co/somebody/words.*backbone\.tokenizer"):
        load_tokenizer(TINY)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        with pytest.raises(WeightsUnavailable, match="is not in the folder"):
            load_tokenizer(TINY, tmp_path / folder)
