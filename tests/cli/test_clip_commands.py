"""The commands with open_clip models: training, measuring, and classes that are named on the command line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.clip_runs import SMALL_CLIP
from support.small_clips import package_weights
from typer.testing import CliRunner

from vpt.artifacts import read
from vpt.cli.classnames import class_names
from vpt.cli.main import app, main
from vpt.cli.predict import tell_apart
from vpt.errors import DataError, OptionError
from vpt.methods import names

ROOT = Path(__file__).parents[2]
ANIMALS = "cat, sea lion, dog"


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    assert caught.value.code in (1, 2)
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that the command has trained."""
    folder = tmp_path_factory.mktemp("clip") / "run"
    printed = output("train", *SMALL_CLIP, "--out", folder, "--epochs", "1", "-q")
    assert "coop on digits" in printed
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of the package's."""
    package_weights(tmp_path / "clip.safetensors", monkeypatch)


def test_evaluate_agrees_with_the_run(trained: Path) -> None:
    recorded = json.loads((trained / "result.json").read_text())["metrics"]
    measured = json.loads(output("evaluate", trained, "--json"))
    assert {name: measured[name] for name in recorded} == recorded
    assert measured["classes"][:2] == ["zero", "one"]


def test_the_tokenizer_can_lie_elsewhere(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = failure(capsys, "evaluate", trained, "--tokenizer", tmp_path)
    assert f"tokenizer '{tmp_path}' given; embedded-clip has open_clip's own" in said


def test_a_saved_task_names_pictures_and_takes_other_names(trained: Path, pictures: Path) -> None:
    found = json.loads(output("predict", trained, pictures, "-f", "json", "--top", "10"))
    assert len(found) == 2
    assert sorted(c["class"] for c in found[0]["classes"]) == sorted(read(trained / "artifact").classes or [])
    again = json.loads(output("predict", trained, pictures, "-f", "json", "--classnames", ANIMALS))
    assert {c["class"] for c in again[0]["classes"]} == {"cat", "sea lion", "dog"}
    assert sum(c["probability"] for c in again[0]["classes"]) == pytest.approx(1)
    option = json.loads(output("predict", pictures, "--task", trained, "-f", "json", "--classnames", ANIMALS))
    assert option == again


@pytest.mark.usefixtures("embedded")
def test_names_alone_are_enough(pictures: Path, tmp_path: Path) -> None:
    arguments = ("predict", pictures, "--backbone", "embedded-clip", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(output(*arguments, "--classnames", ANIMALS))))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 2
    (tmp_path / "names.txt").write_text("cat\nsea lion\n\ndog\n")
    assert output(*arguments, "--classnames", tmp_path / "names.txt") == output(
        *arguments, "--classnames", "cat", "--classnames", "sea lion,dog"
    )
    other = output(*arguments, "--classnames", ANIMALS, "--template", "a {}.", "--template", "no {}")
    assert other != output(*arguments, "--classnames", ANIMALS)
    assert "sea lion" in output("predict", pictures, "--backbone", "embedded-clip", "--classnames", ANIMALS)


@pytest.mark.usefixtures("embedded")
def test_what_cannot_be_predicted_is_explained(
    trained: Path, finished: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ("predict", pictures, "--backbone", "embedded-clip", "--classnames")
    for names_given, said in (("cat,cat", "stands twice"), (",", "names nothing"), ("word " * 80, "too long")):
        assert said in failure(capsys, *alone, names_given)
    assert "texts with one {}" in failure(capsys, *alone, ANIMALS, "--template", "no place")
    assert "cannot be read" in failure(capsys, *alone, tmp_path / "absent.txt")
    assert "knows no names" in failure(capsys, "predict", pictures, "--backbone", "embedded", "--classnames", "cat")
    assert "no picture is given" in failure(capsys, "predict", pictures)
    assert "texts of its own" in failure(capsys, "predict", trained, pictures, "--template", "a {}")
    assert "takes no other names" in failure(capsys, "predict", finished, pictures, "--classnames", "cat")
    assert "--attention draws timm models" in failure(capsys, "predict", trained, pictures, "--attention", tmp_path)
    assert "bound to an open_clip model" in failure(capsys, "predict", trained, pictures, "--backbone", "embedded")


def test_methods_of_both_families_are_listed() -> None:
    listed = output("methods")
    assert all(name in listed for name in [*names("timm"), *names("open_clip")])
    assert "coop (open_clip): " in output("methods", "coop")
    assert "open_clip/ViT-B-32.openai" in output("backbones", "open_clip/ViT-B-32.", "--pretrained").splitlines()


def test_the_script_is_the_same_command_with_a_clip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*given: str) -> str:
        monkeypatch.setattr("sys.argv", ["finetune_clip.py", *given, "--show"])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts" / "finetune_clip.py"), run_name="__main__")
        assert caught.value.code == 0
        return capsys.readouterr().out

    both = ("--backbone", "embedded-clip", "--data", "digits", "--show")
    assert shown("--data", "digits") == output("train", *both, "--method", "coop")
    assert shown("--data", "digits", "--method", "cocoop") == output("train", *both, "--method", "cocoop")
    file = str(ROOT / "configs" / "digits.yaml")
    assert shown(file, "train.epochs=3") == output("train", file, "train.epochs=3", "--show")
    assert shown("--epochs", "3", file) == output("train", file, "--epochs", "3", "--show")
    assert shown("--data", "digits", "--out", "a.yaml") == output("train", *both, "--method", "coop", "--out", "a.yaml")


@given(st.lists(st.text("abc é'-", min_size=1).map(str.strip).filter(bool), min_size=1))
def test_names_between_commas_are_the_names(wanted: list[str]) -> None:
    assert class_names([",".join(wanted)]) == wanted
    assert class_names([f" {name} ," for name in wanted]) == wanted
    assert class_names(None) is None


def test_files_of_names_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Bonin, or sooty albatross\n  kit fox \n", encoding="utf-8")
    assert class_names([str(tmp_path / "names.txt"), "cat"]) == ["Bonin, or sooty albatross", "kit fox", "cat"]
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "bom.txt").write_bytes("\ufeffcat\nsea lion\n".encode())
    (tmp_path / "list.json").write_text('["kit fox", "cat, the"]')
    (tmp_path / "ids.txt").write_text("n01440764 tench\nn01443537 goldfish, a fish\n")
    assert class_names([str(tmp_path / "bom.txt")]) == ["cat", "sea lion"]
    assert class_names([str(tmp_path / "list.json"), "dog"]) == ["kit fox", "cat, the", "dog"]
    assert class_names([str(tmp_path / "ids.txt")]) == ["tench", "goldfish, a fish"]
    (tmp_path / "map.json").write_text('{"cat": "dog"}')
    (tmp_path / "numbers.json").write_text("[1, 2]")
    for name in ("bad.txt", "absent.txt", "absent.json", "map.json", "numbers.json"):
        with pytest.raises(DataError, match=name):
            class_names([str(tmp_path / name)])


def test_the_first_argument_is_the_task_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    task, one, two = tmp_path / "run", Path("a.png"), Path("b.png")
    for backbone, classnames in itertools.product((False, True), repeat=2):
        said = {"backbone": backbone, "classnames": classnames}
        assert tell_apart([task, one], None, **said) == (task, [one])
        assert tell_apart([one, two], task, **said) == (task, [one, two])
        with pytest.raises(OptionError, match="no picture is given"):
            tell_apart([task], None, **said)
    assert tell_apart([one, two], None, backbone=True, classnames=True) == (None, [one, two])
    with pytest.raises(OptionError, match=r"a\.png is no run.* give --classnames too"):
        tell_apart([one, two], None, backbone=True, classnames=False)
    with pytest.raises(OptionError, match=r"a\.png is no run.* give --backbone too"):
        tell_apart([one, two], None, backbone=False, classnames=True)
