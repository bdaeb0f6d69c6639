"""The source "vtab-torchvision": every task that it gives, in TFDS' order, and why it does not give the others."""

from __future__ import annotations

import inspect
import io
import pickle
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision.datasets
from torchvision_samples import WRITERS, Expected, clevr, dtd, pcam

from vpt.data import Task, load_task
from vpt.data.sources.vtab_originals import READERS
from vpt.data.vtab import TASKS, Slice, VtabTask
from vpt.data.vtab.order import tfds_order
from vpt.errors import DataError, OptionError


def shrunk(shrink, name: str, expected: Expected) -> VtabTask:
    """The task with the sizes of `expected`: 8 images to train, 4 to validate, the rest of its split to test."""
    val, test = (TASKS[name].slices()[part].split for part in ("val", "test"))
    pieces = {"train": Slice("train", 0, 8), "val": Slice(val, 8, 4), "test": Slice(test, 12 if test == "train" else 0)}
    return shrink(name, {split: len(content) for split, content in expected.items()}, **pieces)


def assert_is(task: Task, spec: VtabTask, expected: Expected) -> None:
    for part, piece in spec.slices().items():
        content = expected[piece.split]
        keys = list(content)
        chosen = [keys[i] for i in tfds_order(piece.split, keys)[list(piece.positions(len(keys)))]]
        images = task.sets()[part]
        assert images.labels.tolist() == [content[key][0] for key in chosen]
        for i, key in enumerate(chosen):
            np.testing.assert_array_equal(images.decode(i), content[key][1])


@pytest.mark.parametrize("name", WRITERS)
def test_splits_are_those_of_tfds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrink) -> None:
    expected = WRITERS[name](tmp_path, monkeypatch)
    spec = shrunk(shrink, name, expected)
    task = load_task("vtab-torchvision", tmp_path, name)
    assert_is(task, spec, expected)
    assert (task.name, task.route, len(task.classes)) == (name, "vtab-torchvision", spec.classes)
    again = pickle.loads(pickle.dumps(task.test))
    assert again.digest() == task.test.digest()


def test_every_class_has_a_reader_and_a_test() -> None:
    classes = {task.torchvision for task in TASKS.values() if task.torchvision}
    assert set(READERS) == classes == {TASKS[name].torchvision for name in WRITERS}


def test_clevr_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrink) -> None:
    expected = clevr(tmp_path, monkeypatch)

    def nearest(key: str | int) -> int:
        depth = 8 + int(str(key)[-10:-4]) / 10
        return [depth <= 8, depth <= 8.5, depth <= 9, depth <= 9.5, depth <= 10, True].index(True)

    distances = {
        split: {key: (nearest(key), pixels) for key, (_, pixels) in content.items()}
        for split, content in expected.items()
    }
    spec = shrunk(shrink, "clevr_dist", distances)
    assert_is(load_task("vtab-torchvision", tmp_path, "clevr_distance"), spec, distances)


def test_it_is_the_same_task_as_by_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrink) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
    from tfds_samples import prepare

    expected = dtd(tmp_path, monkeypatch)
    shrunk(shrink, "dtd", expected)
    features = {
        "file_name": tfds.features.Text(),
        "image": tfds.features.Image(),
        "label": tfds.features.ClassLabel(num_classes=47),
    }

    def example(name: str, label: int) -> dict[str, object]:
        content = (tmp_path / "dtd" / "dtd" / "images" / name).read_bytes()
        return {"file_name": name, "image": io.BytesIO(content), "label": label}

    content = {
        split: {key: example(str(key), label) for key, (label, _) in members.items()}
        for split, members in expected.items()
    }
    prepare(tmp_path / "tfds", "dtd:3.0.1", features, content)
    one = load_task("tfds", tmp_path / "tfds", "dtd")
    other = load_task("vtab-torchvision", tmp_path, "dtd")
    assert {part: images.digest() for part, images in one.sets().items()} == {
        part: images.digest() for part, images in other.sets().items()
    }


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.torchvision])
def test_others_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        load_task("vtab-torchvision", tmp_path, name)
    assert TASKS[name].why in str(caught.value)
    assert "It gives: cifar, dtd" in str(caught.value)


def test_another_number_of_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dtd(tmp_path, monkeypatch)
    with pytest.raises(DataError, match="torchvision's DTD has 36 images where TFDS has 1880 in train"):
        load_task("vtab-torchvision", tmp_path, "dtd")


def test_scenes_in_another_order_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shrink) -> None:
    shrunk(shrink, "clevr_count", clevr(tmp_path, monkeypatch))
    file = tmp_path / "clevr" / "CLEVR_v1.0" / "scenes" / "CLEVR_val_scenes.json"
    file.write_text(file.read_text().replace("val_000003", "swap").replace("val_000007", "val_000003"))
    file.write_text(file.read_text().replace("swap", "val_000007"))
    with pytest.raises(DataError, match=r"CLEVR_val_scenes\.json: does not describe the files"):
        load_task("vtab-torchvision", tmp_path, "clevr_count")


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_downloaded_but_by_the_line_that_it_tells(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "patch_camelyon":
        monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace())
    cls, fetched = getattr(torchvision.datasets, TASKS[name].torchvision), []
    method = "download" if hasattr(cls, "download") else "_download"
    monkeypatch.setattr(cls, method, lambda self: fetched.append(self.root))
    with pytest.raises(DataError, match=r"not usable under(.|\n)*run in Python\n") as caught:
        load_task("vtab-torchvision", tmp_path, name)
    assert fetched == list(tmp_path.iterdir()) == []
    with suppress(Exception):  # whatever it says of files that nobody has fetched
        exec(str(caught.value).splitlines()[-1].strip())
    assert list(map(str, fetched)) == [str(tmp_path)]


def test_a_missing_h5py_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pcam(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="pip install h5py"):
        load_task("vtab-torchvision", tmp_path, "pcam")


@pytest.mark.parametrize(("dataset", "task"), [("dtd", "dtd"), ("eurosat", "eurosat"), ("oxford_flowers102", "")])
def test_classes_are_in_the_same_order_in_tfds(dataset: str, task: str) -> None:
    """torchvision numbers DTD and EuroSAT by sorted names; TFDS by its own lists. (Flowers: both by the .mat file.)"""
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
    if dataset == "oxford_flowers102":
        import torchvision.datasets

        module = inspect.getmodule(tfds.builder_cls(dataset))
        assert list(module._NAMES) == list(torchvision.datasets.Flowers102.classes)
    elif dataset == "dtd":
        names = Path(tfds.core.tfds_path("image_classification/dtd_key_attributes.txt")).read_text().split()
        assert (names, len(names)) == (sorted(names), TASKS[task].classes)
    else:
        names = inspect.getmodule(tfds.builder_cls(dataset))._LABELS
        assert (names, len(names)) == (sorted(names), TASKS[task].classes)
