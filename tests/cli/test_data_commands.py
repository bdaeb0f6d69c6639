"""`vpt data`: what it writes and prints, and how it goes on where one task is bad."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vpt.cli.main import main
from vpt.data import Preprocessing, load_task
from vpt.data.prepared import open_prepared
from vpt.data.sources import tasks_of
from vpt.data.vtab import TASKS

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--source", "embedded", "train=12", "val=6", "test=8")


@pytest.fixture
def vpt(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; its exit code, and what it printed on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return run


def write_vtab(root: Path, name: str, *, bad: bool = False) -> None:
    """A VTAB folder with two images per set."""
    folder = root / name
    folder.mkdir(parents=True)
    for number, part in enumerate(("train800", "val200", "test")):
        for i in range(2):
            pixels = np.random.default_rng([number, i]).integers(0, 256, (5, 6, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{part}{i}.png")
        (folder / f"{part}.txt").write_text(f"{part}0.png 0\n{part}1.png 1\n")
    if bad:
        (folder / "test1.png").write_bytes(b"broken")


def test_prepare_verify_and_train_end_to_end(vpt: Run, tmp_path: Path) -> None:
    code, out, _ = vpt("data", "prepare", *SMALL, "--tasks", "digits,count", "--out", tmp_path)
    assert code == 0
    for name in ("digits", "count"):
        task = load_task("embedded", None, name, train=12, val=6, test=8)
        opened = open_prepared(tmp_path / name)
        assert opened.record() == {**task.record(), "prepared_with": opened.prepared_with}
        size = sum(path.stat().st_size for path in (tmp_path / name).iterdir() if path.name != "manifest.json")
        row = next(line for line in out.splitlines() if f" {name} " in line)
        for said in ("embedded", "12, 6, 8", f"{size:,}", task.test.digest()[:12], "written"):
            assert said in row
    assert vpt("data", "verify", tmp_path)[:2] == (0, f"{tmp_path}/count: whole\n{tmp_path}/digits: whole\n")
    code, out, err = vpt(
        "train", "--data", "prepared:digits", "--root", tmp_path, "--method", "linear", "--epochs", 1, "-q",
        "--out", tmp_path / "run", "backbone.pretrained=false", "backbone.image_size=16", "train.tensorboard=false",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["route"] == "embedded"
    assert result["data"]["digests"]["test"] == load_task("prepared", tmp_path, "digits").test.digest()


def test_a_finished_task_is_left_alone(vpt: Run, tmp_path: Path) -> None:
    vpt("data", "prepare", *SMALL, "--tasks", "digits", "--out", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, out, _ = vpt("data", "prepare", *SMALL, "--tasks", "digits", "--out", tmp_path)
    assert code == 0
    assert "was there" in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    code, _, err = vpt("data", "prepare", *SMALL, "--tasks", "digits", "--out", tmp_path, "--size", 16)
    assert code == 1
    assert "digits: holds another task" in err


def test_size_resizes_once(vpt: Run, tmp_path: Path) -> None:
    given = ("--size", 12, "--interpolation", "bilinear", "--no-antialias")
    assert vpt("data", "prepare", *SMALL, "--tasks", "digits", "--out", tmp_path, *given)[0] == 0
    task = load_task("embedded", None, "digits", train=12, val=6, test=8)
    preprocessing = Preprocessing(12, interpolation="bilinear", antialias=False)
    images = open_prepared(tmp_path / "digits").test
    assert images.resized() == preprocessing.resizing()
    np.testing.assert_array_equal(images.decode(3), preprocessing.resize(task.test.decode(3)))


def test_one_bad_task_stops_no_other(vpt: Run, tmp_path: Path) -> None:
    write_vtab(tmp_path / "vtab", "svhn")
    write_vtab(tmp_path / "vtab", "dtd", bad=True)
    write_vtab(tmp_path / "vtab", "mine")
    code, out, err = vpt(
        "data", "prepare", "--root", tmp_path / "vtab", "--tasks", "dtd, gone,svhn,mine,", "--out", tmp_path / "out"
    )
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine", "svhn"]
    assert " svhn " in out
    assert " mine " in out
    assert " dtd " not in out
    assert "2 of 4 tasks failed" in err
    assert "dtd/test1.png: not an image" in err
    assert "no task 'gone'" in err
    assert "note: svhn: test has 2 images, VTAB-1K's 26032" in err
    (tmp_path / "vtab" / "dtd" / "test1.png").write_bytes((tmp_path / "vtab" / "dtd" / "test0.png").read_bytes())
    code, out, _ = vpt("data", "prepare", "--root", tmp_path / "vtab", "--tasks", "dtd,svhn", "--out", tmp_path / "out")
    assert code == 0
    assert [line.split("│")[-2].strip() for line in out.splitlines() if "vtab-folder" in line] == [
        "written",
        "was there",
    ]


def test_all_means_all_tasks_of_the_source(vpt: Run, tmp_path: Path) -> None:
    assert vpt("data", "prepare", *SMALL, "--tasks", "all", "--out", tmp_path)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["count", "digits", "location", "orientation"]
    for source, root, code, said in (
        ("vtab", tmp_path, 1, f"{tmp_path}: holds no task of source 'vtab'"),
        ("vtab", None, 2, "source 'vtab' needs root"),
        ("wds", tmp_path / "gone", 1, "gone: there is no such file or folder"),
        ("folder", tmp_path, 2, "source 'folder' has no list of tasks: name one; sources with a list: coop, em"),
        ("vtba", tmp_path, 2, "unknown source 'vtba' (did you mean 'vtab'?)"),
    ):
        where = () if root is None else ("--root", root)
        found = vpt("data", "prepare", "--source", source, *where, "--tasks", "all", "--out", tmp_path / "x")
        assert found[:2] == (code, "")
        assert said in found[2]


def test_all_of_a_folder_are_those_in_it(vpt: Run, tmp_path: Path) -> None:
    for name in ("svhn", "mine", "dtd"):
        write_vtab(tmp_path / "vtab", name)
    missing = [name for name in TASKS if name not in ("svhn", "dtd")]
    given = ("--tasks", "all", "--out", tmp_path / "out")
    code, out, err = vpt("data", "prepare", "--root", tmp_path / "vtab", *given)
    assert code == 0
    assert all(f" {name} " in out for name in ("svhn", "mine", "dtd"))
    assert f"17 are not in {tmp_path}/vtab: {', '.join(missing)}\n" in err
    again = ("data", "prepare", "--source", "prepared", "--root", tmp_path / "out", "--tasks", "all")
    code, out, err = vpt(*again, "--out", tmp_path / "twice", "--quiet")
    assert (code, err) == (0, "")  # not even what is missing or deviates
    assert sorted(path.name for path in (tmp_path / "twice").iterdir()) == ["dtd", "mine", "svhn"]
    assert "note: svhn: test has 2 images" in vpt(*again, "--out", tmp_path / "thrice")[2]


def test_the_datasets_of_coop_are_not_counted_as_those_of_vtab(vpt: Run, tmp_path: Path) -> None:
    (tmp_path / "coop" / "dtd").mkdir(parents=True)
    (tmp_path / "coop" / "dtd" / "split_zhou_DescribableTextures.json").write_text("{}")
    code, _, err = vpt(
        *("data", "prepare", "--source", "coop", "--root", tmp_path / "coop", "--tasks", "all"),
        *("--out", tmp_path / "out"),
    )
    assert code == 1
    assert "1 of 1 tasks failed" in err
    assert "VTAB" not in err


def test_all_of_a_folder_of_webdatasets(tmp_path: Path) -> None:
    for name in ("wds_vtab-svhn", "wds_mine", "wds_sun397", "other"):
        (tmp_path / name / ("train" if name != "other" else "images")).mkdir(parents=True)
    assert tasks_of("wds", tmp_path) == ["wds_mine", "wds_sun397", "svhn"]
    assert tasks_of("tfds", None) == [*TASKS]


def test_a_single_folder_needs_no_name(vpt: Run, tmp_path: Path) -> None:
    write_vtab(tmp_path / "vtab", "mine")
    assert vpt("data", "prepare", "--root", tmp_path / "vtab" / "mine", "--out", tmp_path / "out")[0] == 0
    assert open_prepared(tmp_path / "out" / "mine").name == "mine"
    assert vpt("data", "verify", tmp_path / "out" / "mine")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "embeded"), "did you mean 'embedded'"),
        (("--source", "embedded", "--tasks", "digts"), "unknown embedded task 'digts' (did you mean 'digits'?)"),
        (("--source", "embedded", "--tasks", "digits", "trian=5"), "'trian' (did you mean 'train'?)"),
        (("--source", "embedded", "--tasks", "digits", "train"), "no options of a source: 'train'; accepted: NAME"),
        (("--source", "embedded", "--tasks", "digits", "train=[1"), "train=[1: cannot be read"),
        (("--source", "embedded", "--tasks", ","), "names nothing"),
        (("--source", "embedded", "--tasks", "digits", "--no-antialias"), "--antialias without --size"),
        (("--source", "embedded", "--tasks", "digits", "--size", "8", "--interpolation", "cubic"), "'bicubic'"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_written(
    vpt: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = vpt("data", "prepare", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert said in err
    assert not (tmp_path / "out").exists()


def test_verify_tells_all_faults(vpt: Run, tmp_path: Path) -> None:
    vpt("data", "prepare", *SMALL, "--tasks", "digits,count,location", "--out", tmp_path)
    (tmp_path / "count" / "manifest.json").unlink()
    content = bytearray((tmp_path / "digits" / "images.bin").read_bytes())
    content[100] ^= 1
    (tmp_path / "digits" / "images.bin").write_bytes(content)
    code, out, err = vpt("data", "verify", tmp_path)
    assert (code, out) == (1, f"{tmp_path}/location: whole\n")
    assert "2 of 3 tasks failed" in err
    assert "count: is no prepared task: it has no manifest.json" in err
    assert "images.bin was changed or damaged" in err
    assert vpt("data", "verify", tmp_path, "--tasks", "location", "-q")[:2] == (0, "")
    assert "gone: is no prepared task" in vpt("data", "verify", tmp_path, "--tasks", "gone")[2]
    (tmp_path / "empty").mkdir()
    assert "holds no prepared task" in vpt("data", "verify", tmp_path / "empty")[2]


def test_a_disk_that_cannot_be_read_is_a_fault_of_its_task(
    vpt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vpt("data", "prepare", *SMALL, "--tasks", "digits,count", "--out", tmp_path)

    class Failing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO), self.name)

    def opened(file: object, *arguments: object) -> object:
        return Failing(file) if str(file) == f"{tmp_path}/count/images.bin" else open(file, *arguments)

    monkeypatch.setattr("vpt.data.prepared.read.open", opened, raising=False)
    code, out, err = vpt("data", "verify", tmp_path)
    assert (code, out) == (1, f"{tmp_path}/digits: whole\n")
    assert "1 of 2 tasks failed" in err
    assert "images.bin cannot be read: [Errno 5] Input/output error" in err


def test_an_interrupted_preparation_leaves_what_was_finished(
    vpt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vpt.data.prepared.writing import Writing

    write = Writing.write

    def interrupted(self: Writing, folder: Path) -> None:
        write(self, folder)
        if self.task.name == "count":
            raise KeyboardInterrupt

    monkeypatch.setattr(Writing, "write", interrupted)
    code, _, err = vpt("data", "prepare", *SMALL, "--tasks", "digits,count,location", "--out", tmp_path)
    assert code == 130
    assert "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_tasks_lists_vtab(vpt: Run) -> None:
    code, out, _ = vpt("data", "tasks")
    assert code == 0
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for line in out.splitlines()
            if len(cells := line.split("│")) > 2}  # fmt: skip
    assert list(rows) == list(TASKS)
    assert rows["cifar"] == ["natural", "100", "10,000", "cifar100:3.0.2", "no"]
    assert rows["diabetic_retinopathy"][-1] == rows["resisc45"][-1] == "yes"


def test_heavy_modules_wait_until_they_are_needed() -> None:
    import subprocess

    report = "import vpt.cli.data, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert not {"torch", "PIL", "omegaconf"} & set(run.stdout.split())
