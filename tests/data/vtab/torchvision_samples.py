"""The folders of torchvision's datasets with few images, and what TFDS would make of the same files.

Each function writes under `root` and returns split -> key -> (label, pixels), with TFDS' names of splits and its keys.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from samples import picture
from scipy.io import savemat

Expected = dict[str, dict[str | int, tuple[int, np.ndarray]]]
Write = Callable[[Path, pytest.MonkeyPatch], Expected]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def save(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Writes a PNG under any name, so that pixels are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "png")
    return pixels


def cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    cls = torchvision.datasets.CIFAR100
    folder = root / cls.base_folder
    folder.mkdir()
    found: Expected = {}
    for split, attribute, n in (("train", "train_list", 40), ("test", "test_list", 12)):
        images = [picture(100 * n + i, 32, 32) for i in range(n)]
        labels = [(7 * i) % 100 for i in range(n)]
        data = np.stack([image.transpose(2, 0, 1).reshape(-1) for image in images])
        (folder / split).write_bytes(pickle.dumps({"data": data, "fine_labels": labels}))
        monkeypatch.setattr(cls, attribute, [[split, md5(folder / split)]])
        found[split] = dict(enumerate(zip(labels, images, strict=True)))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(c) for c in range(100)]}))
    meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(folder / "meta")}
    monkeypatch.setattr(cls, "meta", meta)
    return found


def svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    found: Expected = {}
    list_ = dict(torchvision.datasets.SVHN.split_list)
    for split, n in (("train", 40), ("test", 12)):
        images = [picture(50 * n + i, 32, 32) for i in range(n)]
        digits = [i % 10 for i in range(n)]
        file = root / f"{split}_32x32.mat"
        savemat(file, {"X": np.stack(images, -1), "y": np.array([[digit or 10] for digit in digits], np.uint8)})
        list_[split] = ["", file.name, md5(file)]
        found[split] = dict(enumerate(zip(digits, images, strict=True)))
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", list_)
    return found


class FakeFile:
    """`h5py.File` over a .npz, which is all that torchvision needs of it."""

    def __init__(self, path: Path) -> None:
        self.content = dict(np.load(Path(path).with_suffix(".npz")))

    def __enter__(self) -> dict[str, Any]:
        return self.content

    def __exit__(self, *_: object) -> None: ...


def pcam(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=FakeFile))
    found: Expected = {}
    (root / "pcam").mkdir()
    for split, part, n in (("train", "train", 30), ("validation", "valid", 14), ("test", "test", 12)):
        images = np.stack([picture(20 * n + i, 96, 96) for i in range(n)])
        labels = [i % 2 for i in range(n)]
        for what, values in (("x", images), ("y", np.array(labels).reshape(-1, 1, 1, 1))):
            file = root / "pcam" / f"camelyonpatch_level_2_split_{part}_{what}"
            np.savez(file.with_suffix(".npz"), **{what: values})
            file.with_suffix(".h5").touch()
        found[split] = {f"{part}_{i}": (labels[i], images[i]) for i in range(n)}
    return found


def dtd(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    found: Expected = {}
    for number, (split, part) in enumerate((("train", "train"), ("validation", "val"), ("test", "test"))):
        names = [f"{c}/{c}_{100 * number + i:04d}.jpg" for i in range(12) for c in ("woven", "banded", "zigzagged")]
        (base / "labels" / f"{part}1.txt").write_text("\n".join(names) + "\n")
        (base / "labels" / f"{part}2.txt").write_text("")
        classes = {"banded": 0, "woven": 1, "zigzagged": 2}
        found[split] = {
            name: (classes[name.split("/")[0]], save(base / "images" / name, picture(500 * number + i)))
            for i, name in enumerate(names)
        }
    return found


def flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    base = root / "flowers-102"
    ids = np.random.default_rng(0).permutation(np.arange(1, 70))
    parts = {"train": ("trnid", ids[:30]), "validation": ("valid", ids[30:50]), "test": ("tstid", ids[50:])}
    images = {i: save(base / "jpg" / f"image_{i:05d}.jpg", picture(i)) for i in ids}
    savemat(base / "setid.mat", {key: [members] for key, members in parts.values()})
    savemat(base / "imagelabels.mat", {"labels": [[i % 102 + 1 for i in range(1, 70)]]})
    files = dict(torchvision.datasets.Flowers102._file_dict)
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        files[key] = (name, md5(base / name))
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", files)
    return {
        split: {f"image_{i:05d}.jpg": (int(i) % 102, images[i]) for i in members}
        for split, (_, members) in parts.items()
    }


def pets(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    found: Expected = {}
    for split, part, n in (("train", "trainval", 40), ("test", "test", 12)):
        names = [f"{['Abyssinian', 'american_bulldog'][i % 2]}_{part}_{i}" for i in range(n)]
        lines = [f"{name} {i % 2 + 1} 1 1" for i, name in enumerate(names)]
        (base / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")
        found[split] = {
            f"{name}.jpg": (i % 2, save(base / "images" / f"{name}.jpg", picture(60 * n + i)))
            for i, name in enumerate(names)
        }
    return found


def eurosat(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    classes = ["AnnualCrop", "Forest", "SeaLake"]
    names = [(c, f"{c}_{i}.jpg") for c in classes for i in range(20)]
    base = root / "eurosat" / "2750"
    return {
        "train": {
            f"{c}_{name}": (classes.index(c), save(base / c / name, picture(i, 64, 64)))
            for i, (c, name) in enumerate(names)
        }
    }


def clevr(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Labels are counts; the nearest object of image i is at a depth of 8 + i / 10."""
    base = root / "clevr" / "CLEVR_v1.0"
    (base / "scenes").mkdir(parents=True)
    found: Expected = {}
    for split, part, n in (("train", "train", 40), ("validation", "val", 12)):
        names = [f"CLEVR_{part}_{i:06d}.png" for i in range(n)]
        scenes = [
            {"image_filename": name, "objects": [{"pixel_coords": [1, 2, 8 + i / 10 + k]} for k in range(3 + i % 8)]}
            for i, name in enumerate(names)
        ]
        (base / "scenes" / f"CLEVR_{part}_scenes.json").write_text(json.dumps({"scenes": scenes}))
        found[split] = {
            name: (i % 8, save(base / "images" / part / name, picture(70 * n + i))) for i, name in enumerate(names)
        }
    return found


WRITERS: dict[str, Write] = {
    "cifar": cifar,
    "svhn": svhn,
    "patch_camelyon": pcam,
    "dtd": dtd,
    "oxford_flowers102": flowers,
    "oxford_iiit_pet": pets,
    "eurosat": eurosat,
    "clevr_count": clevr,
}
