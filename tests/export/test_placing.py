"""Files appear together once they are whole, or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from vpt.errors import ArtifactError
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
    with pytest.raises(ArtifactError, match="cannot be written"), placing(tmp_path / "file" / "a.onnx"):
        pass
