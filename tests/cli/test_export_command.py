"""`vpt export`: a finished run as a file, or an error that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vpt.export
from vpt.cli.main import main
from vpt.runs.restore import restore


def exits(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["export", *map(str, arguments)])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("given", "writer"), [([], "to_onnx"), (["-f", "program"], "to_program"), (["--format", "timm"], "to_timm")]
)
def test_the_restored_task_is_written_in_the_format_asked_for(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    given: list[str], writer: str,
) -> None:  # fmt: skip
    def write(model: Any, file: Path, **told: Any) -> Path:
        assert told == {"classes": saved.classes, "preprocessing": saved.preprocessing}
        file.write_text(model.method)
        return file

    saved = restore(finished)
    monkeypatch.setattr(vpt.export, writer, write)
    assert exits(finished, *given, "--out", tmp_path / "a") == 0
    assert (tmp_path / "a").read_text() == "deep"
    assert str(tmp_path / "a") in capsys.readouterr().out


def test_what_cannot_be_exported_is_an_error(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(finished, "--format", "timm", "--out", tmp_path / "a") == 2
    assert "error: 'deep' on this VisionTransformer is no timm model" in capsys.readouterr().err
    assert exits(finished, "--format", "tflite", "--out", tmp_path / "a") == 2
    assert exits(tmp_path, "--out", tmp_path / "a.onnx") == 2
    assert not list(tmp_path.iterdir())
