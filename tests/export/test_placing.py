"""Files appear together once they are whole, or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.matrix import small

import vpt
from vpt.errors import ArtifactError
from vpt.export import to_program, to_timm
from vpt.export.placing import placing


def test_all_that_was_written_takes_its_place(tmp_path: Path) -> None:
    with placing(tmp_path / "new" / "a.onnx") as draft:
        draft.write_text("model")
        draft.with_name("a.onnx.data").write_text("weights")
        assert not (tmp_path / "new" / "a.onnx").exists()
    found = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert found == {"a.onnx": "model", "a.onnx.data": "weights"}


def test_after_an_exception_nothing_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("earlier")
    with suppress(KeyboardInterrupt), placing(tmp_path / "a.onnx") as draft:
        draft.write_text("model")
        raise KeyboardInterrupt
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.onnx": "earlier"}


def test_where_no_file_can_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is a folder"), placing(tmp_path):
        pass
    for unwritable in (tmp_path / "file" / "a.onnx", Path("/proc/a.onnx")):
        with pytest.raises(ArtifactError, match="cannot be written"), placing(unwritable):
            pass


@pytest.fixture
def _full() -> Iterator[None]:
    """No file may become larger than 4096 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_full")
def test_where_there_is_no_room_nothing_is_left(tmp_path: Path) -> None:
    model = vpt.tune(small("flexivit_base", depth=1), "shallow", num_classes=3, path="hooks")
    for write, place in ((to_program, tmp_path / "a.pt2"), (to_timm, tmp_path)):
        with pytest.raises(ArtifactError, match=r"cannot be written: .*large"):
            write(model, place)
    assert not list(tmp_path.iterdir())
