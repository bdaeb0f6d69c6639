"""What was learned on a CLIP comes back bit for bit on that CLIP with that tokenizer, and on no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_tensors
from support.forgery import changes, forbid_pickles, forge
from support.small_tokenizer import SmallTokenizer
from support.text_towers import images, small_clip, small_hf_clip
from support.tuned_clips import NAMES, moved, tuned_clip
from support.visual_towers import visual_clip
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vpt.artifacts import load, read, save
from vpt.artifacts.schema import CONFIG, TENSORS, checksum
from vpt.attach import check_free
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, BackboneMismatch, OptionError
from vpt.methods import TunedClip, tune

KINDS: dict[str, dict[str, Any]] = {
    "zero_shot": {"method": "zero_shot", "templates": ["a {}.", "no {} at sea."]},
    "coop": {"method": "coop", "position": "middle"},
    "words": {"method": "coop", "words": "no sea", "path": "plain"},
    "array": {"method": "coop", "context_length": 2, "init": torch.ones(2, 12)},
    "specific": {"method": "coop", "class_specific": True},
    "cocoop": {"method": "cocoop"},
    "kgcoop": {"method": "kgcoop", "weight": 2.0, "templates": "a {}."},
    "taskres": {"method": "taskres", "alpha": 0.3},
    "prograd": {"method": "prograd", "context_length": 3},
    "clip_vpt": {"method": "clip_vpt", "length": 2},
    "ivlp": {"method": "ivlp", "words": "an x", "depth": 2},
    "maple": {"method": "maple", "words": "an x", "depth": 2, "path": "plain"},
    "promptsrc": {"method": "promptsrc", "words": "an x no", "templates": "a {}."},
}
OTHERS = ["vezi", "no", "a sea"]


def clip(**changes: Any) -> Any:
    return small_clip(context_length=40, **changes)


def again(folder: Path, model: nn.Module | None = None, **options: Any) -> TunedClip:
    found = load(clip() if model is None else model, folder, **{"tokenizer": SmallTokenizer(), **options})
    assert isinstance(found, TunedClip)
    return found


def vit() -> VisionTransformer:
    return VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_tensors_and_other_names_are_bit_identical(kind: str, tmp_path: Path) -> None:
    model = moved(**KINDS[kind])
    save(model, tmp_path)
    found = again(tmp_path)
    with torch.no_grad():
        assert torch.equal(found(images()), model(images()))
    assert found.trained_state().keys() == model.trained_state().keys() == load_file(tmp_path / TENSORS).keys()
    assert all(torch.equal(found.trained_state()[name], tensor) for name, tensor in model.trained_state().items())
    assert found.options == read(tmp_path).options
    assert (found.path, found.classnames) == (model.path, tuple(NAMES))
    assert not found.training
    if model.learned.per_class:
        with pytest.raises(OptionError, match="belongs to its own 4 classes"):
            found.rebind(OTHERS)
        return
    with torch.no_grad():
        assert torch.equal(found.rebind(OTHERS)(images()), model.rebind(OTHERS)(images()))
    save(found, tmp_path / "renamed")
    with torch.no_grad():
        assert torch.equal(again(tmp_path / "renamed")(images()), model(images()))


@pytest.mark.parametrize("tower", ["text, class token", "text, SigLIP", "coca"])
def test_other_text_towers(tower: str, tmp_path: Path) -> None:
    model = moved("coop", small_clip(tower), context_length=3)
    save(model, tmp_path)
    with torch.no_grad():
        assert torch.equal(again(tmp_path, small_clip(tower))(images()), model(images()))


MIXED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "image tower by hooks": (lambda: visual_clip("scaled cosine"), {"method": "clip_vpt", "length": 2}),
    "text tower by hooks": (lambda: small_hf_clip("bert, mean"), {"method": "ivlp", "words": "an x", "depth": 2}),
}
"""CLIPs of which one tower takes the fast path and the other cannot."""


@pytest.mark.parametrize("kind", MIXED)
def test_towers_on_different_paths(kind: str, tmp_path: Path) -> None:
    make, options = MIXED[kind]
    model = moved(**options, clip=make())
    assert model.path == "fused"
    save(model, tmp_path)
    found = again(tmp_path, make())
    assert (found.path, found.reason) == (model.path, model.reason)
    assert all(torch.equal(found.trained_state()[name], tensor) for name, tensor in model.trained_state().items())
    if kind == "text tower by hooks":  # open_clip's own scaled cosine does not run
        with torch.no_grad():
            assert torch.equal(found(images()), model(images()))


def test_what_is_written(tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    manifest, content = read(tmp_path), json.loads((tmp_path / CONFIG).read_text())
    assert content["schema"] == 2
    assert manifest.classes == manifest.options["classnames"] == NAMES
    assert manifest.tokenizer is not None
    assert manifest.tokenizer["context_length"] == 40
    assert manifest.preprocessing == Preprocessing.of(clip()).to_dict()
    assert manifest.fingerprint["architecture"]["text width"] == 12
    card = (tmp_path / "README.md").read_text()
    for part in ("`coop`", manifest.tokenizer["tokens"], "cat, sea lion", "open_clip model", "text width 12"):
        assert part in card
    assert "vpt predict this/folder pictures/" in card
    assert card.count("sea lion") == 1, "classes are listed once"


def test_a_card_lists_no_more_than_a_few_names(tmp_path: Path) -> None:
    names = [f"{a}{b}" for a in "abcde" for b in "uvwxyz"]
    save(moved("zero_shot", names=names, templates=[f"{word} {{}}." for word in names]), tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert ", ".join([*names[:20], "..."]) in card
    assert "... (30)]" in card
    assert not re.search(rf"\b({'|'.join(names[20:])})\b", card)


def test_tasks_of_timm_models_are_written_as_before(tmp_path: Path) -> None:
    save(tune(vit(), "deep", num_classes=2, length=1), tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["schema"] == 1
    assert "tokenizer" not in content
    assert "Tokenizer" not in (tmp_path / "README.md").read_text()


def changed(name: str) -> Any:
    model = clip()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0].add_(1e-6)
    return model


def declared() -> Any:
    model = clip()
    model.visual.image_mean = (0.1, 0.2, 0.3)
    return model


STRANGERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "image tower": ("the frozen tensors", lambda: changed("visual.conv1.weight")),
    "text tower": ("the frozen tensors", lambda: changed("ln_final.bias")),
    "logit scale": ("the frozen tensors", lambda: changed("logit_scale")),
    "activation": ("architecture: image activation 'GELU', here 'QuickGELU'", lambda: clip(quick_gelu=True)),
    "heads": ("architecture: text heads 3, here 2", lambda: clip(heads=2)),
    "mask": ("architecture: text causal True, here False", lambda: clip(no_causal_mask=True)),
    "pooling": ("architecture: text pooling 'argmax', here 'last'", lambda: clip(pool_type="last")),
    "class": ("architecture: class 'CLIP', here 'CustomTextCLIP'", lambda: small_clip("text", context_length=40)),
    "mean": ("preprocessing: mean", declared),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_another_clip_is_refused_and_left_as_it_was(stranger: str, tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    difference, make = STRANGERS[stranger]
    other = make()
    state = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(BackboneMismatch) as caught:
        again(tmp_path, other)
    assert difference in str(caught.value)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
    assert all(parameter.requires_grad for parameter in other.parameters())
    assert again(tmp_path, other, force=True)(images()).shape == (3, 4)


@pytest.mark.parametrize("method", ["tip_adapter", "tip_adapter_f", "taskres"])
def test_another_width_is_named_before_anything_is_built(method: str, tmp_path: Path) -> None:
    kept = {"support_images": images(4), "support_labels": [0, 1, 2, 3]} if method.startswith("tip") else {}
    save(moved(method, **kept), tmp_path)
    other = visual_clip("class token")
    with pytest.raises(BackboneMismatch, match="architecture: features 64, here 24"):
        again(tmp_path, other)
    with pytest.raises(ArtifactError, match=r"support_images has shape \[4, 64\]|do not fit"):
        again(tmp_path, other, force=True)
    tuned_clip("coop", other)  # nothing is attached to it


@pytest.mark.parametrize("method", ["coop", "lora"])
def test_a_clip_in_use_is_named_as_such(method: str, tmp_path: Path) -> None:
    model = moved(method)
    save(model, tmp_path)
    with pytest.raises(OptionError, match=r"already tuned by vpt; call \.detach\(\)"):
        again(tmp_path, model.backbone)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    other = SmallTokenizer(start=False)
    with pytest.raises(ArtifactError, match=r"another tokenizer.*\n?.*'tokens': .*tokenizer=open_clip\.get_tokenizer"):
        again(tmp_path, tokenizer=other)
    assert again(tmp_path, tokenizer=other, force=True)(images()).shape == (3, 4)
    with pytest.raises(ArtifactError, match=r"cannot be rebuilt: this text tower knows 100 tokens, CLIP's tokenizer"):
        load(clip(), tmp_path)


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_truncated_and_absent_files_are_named(name: str, tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    content, model = (tmp_path / name).read_bytes(), clip()
    for damaged in (content[: len(content) // 2], b""):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=name):
            again(tmp_path, model)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        again(tmp_path, model)
    tuned_clip("coop", model)  # nothing is attached to it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokenizer": {"tokens": 3}}, r"'tokenizer\.context_length' is missing or wrong; .*'tokenizer\.tokens'"),
        ({"tokenizer": "clip"}, "field 'tokenizer' is a str"),
        ({"options": {}}, "needs the names of the classes"),
        ({"options": {"classnames": ["no", "no"]}, "num_classes": 2, "classes": None}, "'no' stands twice"),
        ({"method": "cop"}, "did you mean 'coop'"),
        ({"num_classes": 9, "classes": None}, "num_classes is 9; accepted: the 4 of classnames"),
        ({"num_classes": 9}, "'num_classes' is 9, with 4 names in 'classes'"),
    ],
)
def test_wrong_content_is_explained(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    content = {**json.loads((tmp_path / CONFIG).read_text()), **change}
    (tmp_path / CONFIG).write_text(json.dumps({**content, "sha256": checksum(content)}))
    with pytest.raises(ArtifactError, match=said):
        again(tmp_path)


@pytest.mark.parametrize("shape", [(10**12, 0), (), (2, 0, 3)])
def test_no_room_is_made_for_kept_images_without_content(shape: tuple[int, ...], tmp_path: Path) -> None:
    save(tuned_clip("tip_adapter", support_images=images(4), support_labels=[0, 1, 2, 3]), tmp_path)
    forge(tmp_path, save_tensors({**load_file(tmp_path / TENSORS), "prompts.keys": torch.zeros(shape)}))
    with pytest.raises(ArtifactError, match="cannot be rebuilt: support_images is a str"):
        again(tmp_path)


def test_prompts_longer_than_all_that_is_stored_are_not_made(tmp_path: Path) -> None:
    save(moved("clip_vpt", length=2), tmp_path)
    state = {**load_file(tmp_path / TENSORS), "x": torch.zeros(10**7, dtype=torch.uint8)}
    forge(tmp_path, save_tensors(state), options={**read(tmp_path).options, "length": 10**7})
    with pytest.raises(ArtifactError, match="ask for far more memory than is stored"):
        again(tmp_path)


def test_tasks_of_timm_models_and_of_clips_do_not_mix(tmp_path: Path) -> None:
    save(moved("coop"), tmp_path / "clip")
    save(tune(vit(), "deep", num_classes=2, length=1), tmp_path / "timm")
    for force in (False, True):
        with pytest.raises(
            BackboneMismatch, match=r"bound to an open_clip model, CLIP .*given is a timm model, Vision"
        ):
            load(vit(), tmp_path / "clip", force=force)
        with pytest.raises(
            BackboneMismatch, match=r"bound to a timm model, VisionTransformer .*an open_clip model, CLIP"
        ):
            load(clip(), tmp_path / "timm", force=force)
    with pytest.raises(OptionError, match="tokenizer given"):
        load(vit(), tmp_path / "timm", tokenizer=SmallTokenizer())


class Pooled(nn.Module):
    """An image tower that tells nothing of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 64).double()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.map(pixels.mean((2, 3)))


def test_an_image_tower_of_ones_own_takes_the_callers_preprocessing(tmp_path: Path) -> None:
    foreign = clip()
    foreign.visual = Pooled()
    model, used = moved("coop", foreign), Preprocessing((16, 16), interpolation="bilinear")
    with pytest.raises(OptionError, match="does not tell its image size"):
        save(model, tmp_path / "a")
    save(model, tmp_path / "b", preprocessing=used)
    assert read(tmp_path / "b").preprocessing == used.to_dict()
    expected = model(images())
    assert torch.equal(again(tmp_path / "b", model.detach())(images()), expected)


def test_names_must_be_as_many_as_classes_and_values_finite(tmp_path: Path) -> None:
    model = moved("coop")
    with pytest.raises(OptionError, match="classes has 1 names"):
        save(model, tmp_path / "a", classes=["x"])
    with torch.no_grad():
        model.get_parameter("prompts.tokens")[0, 0] = float("nan")
    with pytest.raises(ArtifactError, match=r"NaN.*prompts\.tokens"):
        save(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_tensors_of_another_task_are_refused(tmp_path: Path) -> None:
    save(moved("coop"), tmp_path)
    save_file({"prompts.tokens": torch.zeros(1)}, tmp_path / TENSORS)
    with pytest.raises(ArtifactError, match="damaged"):
        again(tmp_path)


def test_there_is_no_head_to_leave_out_and_its_number_of_classes_stands(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="head=False is for timm models; 'coop' classifies by texts"):
        save(moved("coop"), tmp_path, head=False)
    save(moved("coop"), tmp_path)
    with pytest.raises(OptionError, match=r"num_classes is 3; .* has a head, of 4"):
        again(tmp_path, num_classes=3)


def test_rounded_contexts_come_back_in_their_own_precision(tmp_path: Path) -> None:
    model = moved("coop")
    save(model, tmp_path, dtype="float16")
    found = again(tmp_path).trained_state()["prompts.tokens"]
    assert torch.equal(found, model.trained_state()["prompts.tokens"].half().to(found.dtype))


def test_loading_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(moved("coop"), tmp_path)
    model = clip()
    forbid_pickles(monkeypatch)
    assert again(tmp_path, model).num_classes == 4


@pytest.fixture(scope="module")
def maple(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one saved task."""
    folder = save(moved(**KINDS["maple"]), tmp_path_factory.mktemp("maple"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_field_that_is_strange_with_a_sum_that_agrees(
    tmp_path: Path, maple: dict[str, bytes], data: st.DataObject
) -> None:
    """It is refused, or the task loads where nothing depends on that field."""
    (tmp_path / TENSORS).write_bytes(maple[TENSORS])
    (tmp_path / CONFIG).write_text(json.dumps(data.draw(changes(json.loads(maple[CONFIG])))))
    model = clip()
    with suppress(ArtifactError):
        again(tmp_path, model).detach()
    check_free(model)
