"""A damaged, incomplete, forged or future folder is refused with an `ArtifactError`, never read as something else."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.forgery import changed, changes, forbid_pickles, forge, places, rewrite
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import load, read, save
from vpt.artifacts.schema import CARD, CONFIG, SCHEMA, TENSORS
from vpt.attach import check_free
from vpt.errors import ArtifactError
from vpt.methods import Tuned, tune


def backbone() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0)


def model() -> Tuned:
    return tune(backbone(), "deep", num_classes=2, length=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one saved task."""
    folder = save(model(), tmp_path_factory.mktemp("whole"), classes=["a", "b"], metrics={"accuracy": 0.5})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, whole: dict[str, bytes]) -> Path:
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def refused(folder: Path, match: str | None = None, base: VisionTransformer | None = None) -> None:
    """`load` raises an `ArtifactError` and leaves the backbone as it was."""
    base = base or backbone()
    state = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    with pytest.raises(ArtifactError, match=match):
        load(base, folder)
    assert base.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in base.state_dict().items())
    assert all(parameter.requires_grad for parameter in base.parameters())
    check_free(base)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([CONFIG, TENSORS]))
def test_any_flipped_bit_is_noticed(tmp_path: Path, whole: dict[str, bytes], data: st.DataObject, name: str) -> None:
    content = bytearray(whole[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    for file, original in whole.items():
        (tmp_path / file).write_bytes(bytes(content) if file == name else original)
    if name == CONFIG and _same_json(bytes(content), whole[name]):
        return  # white space and the like: the meaning is what it was
    refused(tmp_path)


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_files_cut_short_at_any_kilobyte_empty_and_absent_are_named(folder: Path, name: str) -> None:
    save(tune(backbone(), "deep", num_classes=200, length=40), folder)  # some kilobytes of each
    content = (folder / name).read_bytes()
    assert len(content) > 2048
    for length in [*range(0, len(content), 1024), len(content) - 2]:
        (folder / name).write_bytes(content[:length])
        refused(folder, name)
    (folder / name).unlink()
    refused(folder, name)
    (folder / name).mkdir()
    refused(folder, name)


def test_the_card_may_be_anything(folder: Path) -> None:
    (folder / CARD).write_bytes(b"\xff\x00")
    assert load(backbone(), folder).num_classes == 2
    (folder / CARD).unlink()
    assert load(backbone(), folder).num_classes == 2


def test_every_missing_field_is_listed(folder: Path) -> None:
    rewrite(folder, {}, "method", "classes", "tensors")
    with pytest.raises(ArtifactError) as caught:
        read(folder)
    assert all(f"field {name!r} is missing" in str(caught.value) for name in ("method", "classes", "tensors"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_classes": "2"}, "field 'num_classes' is a str, not a int"),
        ({"classes": [1, 2]}, "field 'classes'"),
        ({"surprise": 1}, "field 'surprise' is unknown"),
        ({"fingerprint": {"digest": "x"}}, "fingerprint.tensors"),
        ({"schema": SCHEMA + 1}, "later vpt"),
        ({"schema": "one"}, "no valid schema"),
        ({"method": "depe"}, "did you mean 'deep'"),
        ({"options": {"lenght": 3}}, "lenght"),
        ({"method": "coop"}, "learns of class names"),
        ({"path": "sideways"}, "sideways"),
        ({"num_classes": True}, "field 'num_classes' is a bool"),
        ({"num_classes": -1, "classes": None}, "'num_classes' is -1"),
        ({"num_classes": 3}, "'num_classes' is 3, with 2 names"),
        ({"num_classes": 3, "classes": None}, "do not fit"),
        ({"num_classes": 10**12, "classes": None}, f"num_classes is {10**12}; what is stored has no size above"),
        ({"num_classes": 10**400, "classes": None}, "num_classes is 1000"),
        ({"options": {"length": 10**12}}, f"length is {10**12}; what is stored has no size above"),
        ({"options": {"project": 10**12}}, f"project is {10**12}"),
        ({"options": {"layers": [0, 10**12]}}, f"layers is {10**12}"),
        ({"options": {"layers": f"first:{10**12}"}}, "this backbone has 1 blocks"),
        ({"method": "mlp", "options": {"layers": 10**12}}, f"layers is {10**12}"),
        ({"method": "mlp", "options": {"hidden": 10**12}}, f"hidden is {10**12}"),
        ({"options": {"length": 3}}, "do not fit"),
        ({"options": {"length": "1"}}, "length is '1'"),
        ({"options": {"length": 1e12}}, "length is 1000000000000.0"),
        ({"options": {"length": None}}, "length is None"),
        ({"options": {"dropout": "much"}}, "dropout is 'much'"),
        ({"options": {"dropout_mode": []}}, "dropout_mode"),
        ({"options": {"pool": {}}}, "cannot be rebuilt"),
        ({"options": {"seed": 10**30}}, "cannot be rebuilt"),
        ({"options": {"seed": "none"}}, "cannot be rebuilt"),
        ({"options": {"model": 1}}, "cannot be rebuilt"),
        ({"head": False}, "'head' is False, with 2"),
        ({"head": None}, "field 'head' is a NoneType"),
        ({"dtype": 16}, "field 'dtype' is a int"),
        ({"licence": ["MIT"]}, "field 'licence' is a list"),
        ({"classes": ["caf\udce9", "b"]}, r"'classes' holds 'caf\\udce9', which is no text of UTF-8"),
        ({"preprocessing": {}}, "'preprocessing' is wrong: .*needs size"),
        ({"preprocessing": {"size": [8, 8], "mean": 3}}, "'preprocessing' is wrong"),
        ({"preprocessing": {"size": "large"}}, "'preprocessing' is wrong"),
        ({"tokenizer": {"context_length": 1, "tokens": ""}}, "bound to an open_clip model"),
    ],
)
def test_wrong_content_is_explained(folder: Path, change: dict[str, object], said: str) -> None:
    rewrite(folder, change)
    refused(folder, said)


def test_every_field_removed_or_of_another_type_is_noticed(folder: Path, whole: dict[str, bytes]) -> None:
    original = json.loads(whole[CONFIG])
    for place in places(original):
        for change in (None, "strange", {}, KeyError):
            content = changed(original, place, change)
            if content == original:
                continue
            (folder / CONFIG).write_text(json.dumps(content))
            with pytest.raises(ArtifactError):
                read(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_field_that_is_strange_with_a_sum_that_agrees(
    folder: Path, whole: dict[str, bytes], data: st.DataObject
) -> None:
    """It is refused, or the task loads as what it is where nothing depends on that field."""
    base, images = backbone(), torch.ones(2, 3, 16, 16)
    (folder / CONFIG).write_bytes(whole[CONFIG])
    expected = load(backbone(), folder)(images)
    (folder / CONFIG).write_text(json.dumps(data.draw(changes(json.loads(whole[CONFIG])))))
    with suppress(ArtifactError):
        found = load(base, folder)
        assert torch.equal(found(images), expected)
        found.detach()
    check_free(base)


FORGED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "NaN": (lambda t: t * torch.nan, r"NaN or infinity.*|prompts\.tokens holds NaN"),
    "infinity": (lambda t: t + torch.inf, "prompts.tokens holds NaN or infinity"),
    "beyond float32": (lambda t: t.double() + 1e300, "precision cannot hold the values of prompts.tokens"),
    "integers": (lambda t: t.to(torch.int64), "numbers of another kind than the model's: prompts.tokens"),
    "truths": (lambda t: t > 0, "numbers of another kind"),
    "complex": (lambda t: t.to(torch.complex64), "prompts.tokens is of torch.complex64"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), "prompts.tokens is of torch.float8"),
    "longer": (lambda t: t.repeat(1, 2, 1), "do not fit"),
    "flat": (lambda t: t.flatten(), "do not fit"),
    "scalar": (lambda t: t.sum(), "do not fit"),
    "empty": (lambda t: t[:, :0], "do not fit"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_tensors_are_refused(folder: Path, kind: str) -> None:
    state, (change, said) = load_file(folder / TENSORS), FORGED[kind]
    forge(folder, safetensors.torch.save({**state, "prompts.tokens": change(state["prompts.tokens"])}))
    refused(folder, said)


def test_forged_names_are_refused(folder: Path) -> None:
    state = load_file(folder / TENSORS)
    for names in ({}, {"strange": torch.ones(2), **state}, {"backbone.norm.weight": torch.ones(8), **state}):
        forge(folder, safetensors.torch.save(names))
        refused(folder, "do not fit")
    forge(folder, safetensors.torch.save(state), num_classes=0, classes=None)
    refused(folder, "do not fit method 'deep': unknown backbone.head")


def test_nothing_is_made_room_for_by_tensors_without_content(folder: Path) -> None:
    state = load_file(folder / TENSORS)
    forge(folder, safetensors.torch.save({**state, "x": torch.empty(0, 10**12)}), options={"length": 10**12})
    refused(folder, "no size above 1024")


@pytest.mark.parametrize(
    ("change", "width"),
    [
        ({"options": {"length": 2 * 10**6}}, 64),
        ({"method": "mlp", "options": {"layers": 2 * 10**6, "hidden": 1}}, 8),
        ({"method": "mlp", "options": {"layers": 1000, "hidden": 1000}}, 8),
    ],
)
def test_no_more_room_is_made_than_learned_tensors_can_need(
    folder: Path, change: dict[str, object], width: int
) -> None:
    """A vector that no method learns lets a size pass; how much memory such a size needs is another matter."""
    state = {**load_file(folder / TENSORS), "x": torch.zeros(2 * 10**6, dtype=torch.uint8)}
    forge(folder, safetensors.torch.save(state), **change)
    base = VisionTransformer(img_size=16, patch_size=8, embed_dim=width, depth=1, num_heads=1, num_classes=0)
    refused(folder, "ask for far more memory than is stored", base)


@pytest.mark.parametrize(
    ("shape", "count", "said"),
    [
        ([2**63, 0], 0, "is not a safetensors file"),
        ([2**62, 2**62, 0], 0, "is not a safetensors file"),
        ([1] * 100, 1, "x has 100 dimensions"),
        ([2**62, 0], 0, "do not fit"),
    ],
)
def test_shapes_that_are_no_tensors(folder: Path, shape: list[int], count: int, said: str) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * count]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4 * count)
    declared = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "shapes": {"x": shape}}
    (folder / TENSORS).write_bytes(content)
    rewrite(folder, {"tensors": declared})
    refused(folder, said)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_of_any_kind_with_sums_that_agree(folder: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    content = bytearray(whole[TENSORS])
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    forge(folder, bytes(content))
    base = backbone()
    with suppress(ArtifactError):
        load(base, folder).detach()
    check_free(base)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_under_the_name_of_the_tensors_is_not_opened(folder: Path, protocol: int) -> None:
    opened = folder / "opened"
    forge(folder, pickle.dumps(Trap(opened), protocol))
    refused(folder, f"{TENSORS} is not a safetensors file")
    torch.save(load(backbone(), save(model(), folder / "whole")).trained_state(), folder / "pickled")
    forge(folder, (folder / "pickled").read_bytes())
    refused(folder, f"{TENSORS} is not a safetensors file")
    assert not opened.exists()


class Trap:
    """What leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_loading_unpickles_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_pickles(monkeypatch)
    assert load(backbone(), folder).num_classes == 2


def test_an_edited_configuration_is_refused(folder: Path) -> None:
    rewrite(folder, {"metrics": {"accuracy": 0.99}}, sign=False)
    with pytest.raises(ArtifactError, match="changed or damaged"):
        read(folder)


def test_tensors_of_another_task_are_refused(folder: Path) -> None:
    save_file({"prompts.values": torch.zeros(3)}, folder / TENSORS)
    with pytest.raises(ArtifactError, match="damaged"):
        load(backbone(), folder)


@pytest.mark.parametrize("content", ["[]", "null", '{"schema": 1', "\xff", "[" * 10**5, '{"schema": NaN}', "1" * 5000])
def test_what_is_no_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / CONFIG).write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=CONFIG):
        read(folder)


def test_files_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save(model(), tmp_path)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
