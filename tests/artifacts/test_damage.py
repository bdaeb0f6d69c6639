"""A damaged, incomplete or future folder is refused with an `ArtifactError`, never read as something else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from vpt.artifacts import load, read, save
from vpt.artifacts.schema import CONFIG, SCHEMA, TENSORS, checksum
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


def rewrite(folder: Path, change: dict[str, object], *drop: str, sign: bool = True) -> None:
    """Change the configuration, with a checksum that agrees again."""
    content = {k: v for k, v in {**json.loads((folder / CONFIG).read_text()), **change}.items() if k not in drop}
    if sign:
        content["sha256"] = checksum(content)
    (folder / CONFIG).write_text(json.dumps(content))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([CONFIG, TENSORS]))
def test_any_flipped_bit_is_noticed(tmp_path: Path, whole: dict[str, bytes], data: st.DataObject, name: str) -> None:
    content = bytearray(whole[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    for file, original in whole.items():
        (tmp_path / file).write_bytes(bytes(content) if file == name else original)
    if name == CONFIG and _same_json(bytes(content), whole[name]):
        return  # white space and the like: the meaning is what it was
    with pytest.raises(ArtifactError):
        load(backbone(), tmp_path)


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_truncated_empty_and_absent_files_are_named(folder: Path, whole: dict[str, bytes], name: str) -> None:
    for content in (whole[name][: len(whole[name]) // 2], b""):
        (folder / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=name):
            load(backbone(), folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load(backbone(), folder)


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
    ],
)
def test_wrong_content_is_explained(folder: Path, change: dict[str, object], said: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ArtifactError, match=said):
        load(backbone(), folder)


def test_an_edited_configuration_is_refused(folder: Path) -> None:
    rewrite(folder, {"metrics": {"accuracy": 0.99}}, sign=False)
    with pytest.raises(ArtifactError, match="changed or damaged"):
        read(folder)


def test_tensors_of_another_task_are_refused(folder: Path) -> None:
    save_file({"prompts.values": torch.zeros(3)}, folder / TENSORS)
    with pytest.raises(ArtifactError, match="damaged"):
        load(backbone(), folder)


@pytest.mark.parametrize("content", ["[]", "null", '{"schema": 1', "\xff"])
def test_what_is_no_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / CONFIG).write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=CONFIG):
        read(folder)


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_an_interrupted_save_leaves_the_old_task_or_one_that_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    replace, done = os.replace, []

    def failing(a: str, b: str) -> None:
        if len(done) == survivors:
            raise OSError("power cut")
        done.append(b)
        replace(a, b)

    other = tune(backbone(), "deep", num_classes=2, length=3)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="power cut"):
        save(other, folder)
    monkeypatch.undo()
    assert not list(folder.glob("*.tmp"))
    if survivors == 0:
        assert load(backbone(), folder).options["length"] == 1
    else:
        with pytest.raises(ArtifactError, match="damaged"):
            load(backbone(), folder)
    save(other, folder)
    assert load(backbone(), folder).options["length"] == 3


def test_files_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save(model(), tmp_path)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
