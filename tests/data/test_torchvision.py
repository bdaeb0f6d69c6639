"""torchvision's datasets by name, without a network."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from samples import picture

from vpt.data import load_task
from vpt.data.sources.torchvision_named import parameters
from vpt.errors import DataError, OptionError


def test_without_subsets_all_are_held_out() -> None:
    task = load_task("torchvision", None, "FakeData", size=60, image_size=(3, 8, 8), num_classes=2)
    assert task.route == "torchvision:FakeData"
    assert sum(len(images) for images in task.sets().values()) == 60
    item = torchvision.datasets.FakeData(60, (3, 8, 8), 2)[int(task.test.describe(0).split("[")[1][:-1])]
    np.testing.assert_array_equal(task.test.decode(0), np.asarray(item[0]))
    assert task.test.labels[0] == item[1]
    again = pickle.loads(pickle.dumps(task.val))
    np.testing.assert_array_equal(again.decode(3), task.val.decode(3))
    task.verify()


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's own files with ten images each, and the checksums that torchvision asks for."""
    folder = root / torchvision.datasets.CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(name: str, first: int) -> list[str]:
        data = np.stack([picture(first + i, 32, 32).transpose(2, 0, 1).reshape(-1) for i in range(10)])
        return write(name, {"data": data, "labels": [i % 2 for i in range(10)]})

    cls = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cls, "train_list", [batch("data_batch_1", 0)])
    monkeypatch.setattr(cls, "test_list", [batch("test_batch", 50)])
    names = [f"name {c}" for c in range(10)]
    meta = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(cls, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})


def test_train_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    task = load_task("torchvision", tmp_path, "CIFAR10")
    assert task.classes == tuple(f"name {c}" for c in range(10))
    assert [len(images) for images in task.sets().values()] == [8, 2, 10]
    np.testing.assert_array_equal(task.test.decode(4), picture(54, 32, 32))
    assert task.test.labels.tolist() == [0, 1] * 5
    assert task.test.describe(4) == "CIFAR10(train=False)[4]"


def write_pets(root: Path) -> None:
    """The Oxford-IIIT Pet layout: `split` is trainval or test, paths are the dataset's own."""
    base = root / "oxford-iiit-pet"
    for folder in ("images", "annotations/trimaps"):
        (base / folder).mkdir(parents=True)
    for part, count in (("trainval", 10), ("test", 4)):
        lines = []
        for i in range(count):
            name = f"{['Abyssinian', 'beagle'][i % 2]}_{part}{i}"
            Image.fromarray(picture(i)).save(base / "images" / f"{name}.jpg")
            lines.append(f"{name} {i % 2 + 1} 1 1")
        (base / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")


def test_split_argument(tmp_path: Path) -> None:
    write_pets(tmp_path)
    task = load_task("torchvision", tmp_path, "OxfordIIITPet")
    assert [len(images) for images in task.sets().values()] == [8, 2, 4]
    assert task.test.labels.tolist() == [0, 1, 0, 1]
    path = Path(task.test.describe(1))
    assert path.name == "beagle_test1.jpg"
    before = task.test.digest()
    path.write_bytes(path.read_bytes()[:-300])
    task = load_task("torchvision", tmp_path, "OxfordIIITPet")
    with pytest.raises(DataError, match=r"beagle_test1\.jpg"):
        task.verify()
    assert task.test.digest() != before


def test_a_validation_set_that_serves_as_test_is_not_used_twice(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for wnid in torchvision.datasets.Imagenette._WNID_TO_CLASS:
            (tmp_path / "imagenette2" / part / wnid).mkdir(parents=True)
            for i in range(3):
                Image.fromarray(picture(i)).save(tmp_path / "imagenette2" / part / wnid / f"{i}.JPEG")
    task = load_task("torchvision", tmp_path, "Imagenette")
    assert [len(images) for images in task.sets().values()] == [20, 10, 30]
    assert "/val/" in task.test.describe(0)
    assert "/train/" in task.val.describe(0)
    assert "tench" in task.classes[0]
    with pytest.raises(OptionError, match=r"Imagenette.*'size'|size.*Valid values"):
        load_task("torchvision", tmp_path, "Imagenette", size="huge")


def test_nothing_is_downloaded_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"CIFAR10\(train=True\) is not usable.*download=True"):
        load_task("torchvision", tmp_path, "CIFAR10")
    with pytest.raises(DataError, match=r"SEMEION.*not usable"):  # its own default is to download
        load_task("torchvision", tmp_path, "SEMEION")
    assert list(tmp_path.iterdir()) == []


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"unknown torchvision dataset 'CIFAR_10'.*did you mean 'CIFAR10'"):
        load_task("torchvision", tmp_path, "CIFAR_10")
    with pytest.raises(OptionError, match=r"no option 'val_fractoin' \(did you mean"):
        load_task("torchvision", tmp_path, "CIFAR10", val_fractoin=0.1)
    with pytest.raises(OptionError, match="EMNIST also needs: split"):
        load_task("torchvision", tmp_path, "EMNIST")
    with pytest.raises(OptionError, match="source='folder'"):
        load_task("torchvision", tmp_path, "ImageFolder")
    with pytest.raises(OptionError, match="needs root"):
        load_task("torchvision", None, "CIFAR10")
    assert "train" in parameters("EMNIST")  # handed on to MNIST


def test_what_is_no_classification_dataset_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torchvision.datasets.FakeData, "__getitem__", lambda self, i: (Image.new("RGB", (4, 4)), {"boxes": []})
    )
    with pytest.raises(OptionError, match=r"no classification dataset.*dict"):
        load_task("torchvision", None, "FakeData", size=4)
