"""The commands themselves: what they print, what they write, how they fail."""

from __future__ import annotations

import csv
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_runs import SMALL
from typer.testing import CliRunner

from vpt.artifacts import read
from vpt.cli.main import app, main
from vpt.errors import OptionError
from vpt.methods import names

ROOT = Path(__file__).parents[2]


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(caught.value.code or 0), capsys.readouterr().err


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "deeper/a.png"):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    return tmp_path / "in"


def test_train_prints_and_leaves_a_run(tmp_path: Path) -> None:
    printed = output("train", *SMALL[:-1], "--out", tmp_path / "run", "--method", "linear", "-q")
    assert "linear on digits" in printed
    assert read(tmp_path / "run" / "artifact").method == "linear"
    assert "linear on digits" in output("train", tmp_path / "run" / "config.yaml")


def test_train_shows_the_full_configuration(tmp_path: Path) -> None:
    shown = output("train", "--data", "digits", "--lr", "1e-3,1e-2", "--seeds", "0,1", "--show")
    (tmp_path / "a.yaml").write_text(shown)
    assert output("train", tmp_path / "a.yaml", "--show") == shown
    assert "weight_decay" in shown


def test_evaluate_agrees_with_the_run(finished: Path, tmp_path: Path) -> None:
    recorded = json.loads((finished / "result.json").read_text())["metrics"]
    measured = json.loads(output("evaluate", finished, "--json", "--out", tmp_path / "report"))
    assert {name: measured[name] for name in recorded} == recorded
    assert (tmp_path / "report" / "report.png").exists()
    assert "accuracy" in output("evaluate", finished / "artifact", "--split", "val")


def test_predict_in_three_formats(finished: Path, pictures: Path, tmp_path: Path) -> None:
    found = json.loads(output("predict", finished, pictures, "-f", "json"))
    assert [Path(row["path"]).relative_to(pictures).as_posix() for row in found] == ["a.png", "b.jpg", "deeper/a.png"]
    for row in found:
        values = [c["probability"] for c in row["classes"]]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)
        assert 0 < sum(values) <= 1 + 1e-9
    rows = list(
        csv.DictReader(io.StringIO(output("predict", finished, pictures / "a.png", "-f", "csv", "--top", "99")))
    )
    assert [r["rank"] for r in rows] == [str(i) for i in range(1, 11)]
    assert abs(sum(float(r["probability"]) for r in rows) - 1) < 1e-4
    assert rows[0]["class"] == found[0]["classes"][0]["class"]
    assert "b.jpg" in output("predict", finished / "artifact", pictures)
    for given in (["-f", "json"], []):
        output("predict", finished, pictures, *given, "--out", tmp_path / "p.json")
        assert json.loads((tmp_path / "p.json").read_text()) == found


def test_predict_writes_the_format_that_the_file_is_named_for(
    finished: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output("predict", finished, pictures / "a.png", "--out", tmp_path / "p.CSV")
    output("predict", finished, pictures / "a.png", "--out", tmp_path / "p.txt", "-f", "csv")
    assert (tmp_path / "p.CSV").read_text() == (tmp_path / "p.txt").read_text()
    assert (tmp_path / "p.txt").read_text().startswith("path,rank,class,probability\n")
    for given, said in (
        (["p.json", "-f", "csv"], "--format csv contradicts"),
        (["p.csv", "-f", "table"], "a file takes csv or json"),
        (["p"], "tells no format"),
    ):
        arguments = ("predict", finished, pictures, "--out", tmp_path / "new" / given[0], *given[1:])
        code, error = failure(capsys, *arguments)
        assert code == 2
        assert said in error
    assert not (tmp_path / "new").exists()


def test_a_provenance_that_is_not_a_runs_is_no_crash(
    finished: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vpt.artifacts import save
    from vpt.runs.restore import restore

    said = {"backbone": "vit_tiny", "data": "mine", "data_config": 3, "train": None}
    save(restore(finished).model, tmp_path / "task", provenance=said)
    assert "name it: --backbone NAME" in failure(capsys, "predict", tmp_path / "task", pictures)[1]
    with pytest.raises(OptionError, match="--backbone NAME"):
        restore(tmp_path / "task")
    said["backbone"] = json.loads((finished / "result.json").read_text())["config"]["backbone"]
    save(restore(finished).model, tmp_path / "task", provenance=said)
    assert "does not say which data" in failure(capsys, "evaluate", tmp_path / "task")[1]
    assert "a.png" in output("predict", tmp_path / "task", pictures)


def test_predict_draws_attention(finished: Path, pictures: Path, tmp_path: Path) -> None:
    output("predict", finished, pictures, "-f", "csv", "--attention", tmp_path / "maps")
    written = sorted((tmp_path / "maps").iterdir())
    assert [p.name for p in written] == ["a-0.png", "a-2.png", "b.png"]
    drawn = np.asarray(Image.open(written[0])).astype(int)
    left, right = np.split(drawn, 2, axis=1)
    assert np.abs(left - right).mean() > 5


def test_every_unreadable_picture_is_named(finished: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.png", "y.jpg"):
        (pictures / name).write_bytes(b"broken")
    code, said = failure(capsys, "predict", finished, pictures)
    assert code == 1
    assert "x.png" in said
    assert "y.jpg" in said
    code, said = failure(capsys, "predict", finished, pictures / "gone", pictures / "away")
    assert "gone" in said
    assert "away" in said
    (pictures / "empty").mkdir()
    assert "no pictures" in failure(capsys, "predict", finished, pictures / "empty")[1]


def test_another_backbone_is_refused_by_the_commands(
    finished: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    from vpt.backbones import embedded

    torch.manual_seed(1)
    save_file(embedded(pretrained=False, image_size=16).state_dict(), tmp_path / "other.safetensors")
    arguments = ("predict", finished, pictures, "--checkpoint", tmp_path / "other.safetensors")
    code, said = failure(capsys, *arguments)
    assert code == 1
    assert "the frozen tensors" in said
    assert "a.png" in output(*arguments, "--force")


def test_what_is_no_run_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure(capsys, "evaluate", tmp_path)[0] == 2
    (tmp_path / "config.yaml").touch()
    assert "has not finished" in failure(capsys, "evaluate", tmp_path)[1]
    for name in ("seed-0", "seed-1"):
        (tmp_path / name / "artifact").mkdir(parents=True)
    assert "seed-1" in failure(capsys, "predict", tmp_path, ROOT / "pyproject.toml")[1]


def test_mistakes_are_errors_not_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = failure(capsys, "train", "--data", "digits", "train.epoch=1", "method.name=depe")
    assert code == 2
    assert said.startswith("error: wrong configuration:")
    assert "did you mean 'epochs'" in said
    assert "did you mean 'deep'" in said
    assert failure(capsys, "evaluate", "nowhere", "--split")[0] == 2


def test_methods_and_backbones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = output("methods")
    assert all(name in listed for name in names())
    assert "length" in output("methods", "deep")
    assert output("backbones", "embed").splitlines()[0] == "embedded"
    assert "vit_base_patch14_dinov2.lvd142m" in output("backbones", "dinov2", "--pretrained").splitlines()
    assert "did you mean 'embedded" in failure(capsys, "backbones", "embeddet")[1]


def test_the_script_is_the_same_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = ROOT / "scripts" / "finetune_vit.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--data", "digits", "--show"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == output("train", "--data", "digits", "--show")


def test_the_command_line_alone_needs_no_torch() -> None:
    program = f"""
import sys, types
package = types.ModuleType("vpt"); package.__path__ = [{str(ROOT / "vpt")!r}]; sys.modules["vpt"] = package
import vpt.cli.main
heavy = {{"torch", "timm", "omegaconf", "numpy", "matplotlib", "sklearn", "PIL"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
