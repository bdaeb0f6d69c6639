"""The source "tfds", on datasets that tensorflow_datasets has written."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vpt.data import ImageDataset, Preprocessing, Task, load_task, loader
from vpt.data.decode import decode_bytes
from vpt.data.prepared import open_prepared
from vpt.data.prepared import prepare as prepare_task
from vpt.data.vtab import Slice, VtabTask
from vpt.data.vtab.order import tfds_order
from vpt.data.vtab.tfds_records import Reader
from vpt.errors import DataError, OptionError

if importlib.util.find_spec("tensorflow_datasets") is None:
    pytest.skip("tensorflow_datasets is not installed", allow_module_level=True)

import tensorflow_datasets as tfds
from tfds_samples import png, prepare

N = 60
SMALL = {"train": Slice("train", 0, 20), "val": Slice("train", 30, 10), "test": Slice("train", 45)}


def sprite(i: int) -> np.ndarray:
    """A picture of zeros and ones, another one for each i: its bits."""
    return np.array([[(i >> bit) & 1 for bit in range(8)]] * 8, dtype=np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of TFDS with a small dSprites."""
    root = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tfds.features.Image(shape=(8, 8, 1)),
        "label_x_position": tfds.features.ClassLabel(num_classes=32),
        "label_orientation": tfds.features.ClassLabel(num_classes=40),
    }
    content = {i: {"image": png(sprite(i)), "label_x_position": i % 32, "label_orientation": i % 40} for i in range(N)}
    prepare(root, "dsprites:2.0.0", features, {"train": content})
    return root


@pytest.fixture
def small(shrink) -> VtabTask:
    shrink("dsprites_ori", {"train": N}, **SMALL)
    return shrink("dsprites_loc", {"train": N}, **SMALL)


def test_slices_labels_and_pixels(root: Path, small: VtabTask) -> None:
    task = load_task("tfds", root, "dsprites_location")
    order = tfds_order("train", range(N))
    for part, piece in small.slices().items():
        images = task.sets()[part]
        members = order[list(piece.positions(N))]
        assert images.labels.tolist() == [(i % 32) // 2 for i in members]
        for k, i in enumerate(members):
            expected = np.repeat(sprite(i)[:, :, None] * 255, 3, axis=2)
            np.testing.assert_array_equal(images.decode(k), expected)
    assert (task.name, task.route, len(task.classes)) == ("dsprites_loc", "tfds", 16)
    assert task.val.describe(3) == "dsprites:2.0.0/train[33]"
    assert task.record()["splits"]["val"] == "dsprites:2.0.0 train[30:+10]"
    assert load_task("tfds", root, "dsprites_ori").train.labels.tolist() == [int((i % 40) // 2.5) for i in order[:20]]
    np.testing.assert_array_equal(task.val.decode_content(0, task.val.content(0)), task.val.decode(0))
    assert not task.val.portable()  # the stored picture alone is not the image
    task.verify()


def test_a_preparation_reads_and_decodes_every_image_once(
    root: Path, small: VtabTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("tfds", root, "dsprites_loc")
    decoded: list[str] = []

    def counting(content: bytes, name: str, max_pixels: int) -> Any:
        decoded.append(name)
        return decode_bytes(content, name, max_pixels)

    monkeypatch.setattr("vpt.data.vtab.tfds_records.decode_bytes", counting)
    monkeypatch.setattr("vpt.data.prepared.writing.decode_bytes", counting)
    opened = open_prepared(prepare_task(task, tmp_path / "dsprites"))
    assert sorted(decoded) == sorted(s.describe(i) for s in task.sets().values() for i in range(len(s)))
    for part, images in task.sets().items():
        assert images.digest() == opened.sets()[part].digest()
        for i in range(len(images)):
            np.testing.assert_array_equal(opened.sets()[part].decode(i), images.decode(i))


def test_images_survive_pickling_and_forked_workers(root: Path, small: VtabTask) -> None:
    task = load_task("tfds", root, "dsprites_loc")
    again = pickle.loads(pickle.dumps(task.trainval))
    np.testing.assert_array_equal(again.decode(25), task.trainval.decode(25))
    assert again.digest() == task.trainval.digest()
    # This process has read the images already, which is what forked readers of array_record would not survive.
    dataset = ImageDataset(task.test, Preprocessing((8, 8)))
    batches = list(loader(dataset, 8, shuffle=False, workers=2))
    found = {int(i): image for batch in batches for i, image in zip(batch["index"], batch["image"], strict=True)}
    assert len(found) == len(task.test)
    for i, image in found.items():
        np.testing.assert_array_equal(image.numpy(), dataset[i]["image"].numpy())


def test_what_is_not_prepared_tells_how_to_prepare_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"KITTI(.|\n)*3\.2\.0, 3\.1\.0(.|\n)*tfds build kitti --data_dir=.*array_record"
    ):
        load_task("tfds", root, "kitti")
    with pytest.raises(DataError, match=rf"Kaggle(.|\n)*{tmp_path}/downloads/manual/(.|\n)*trainLabels\.csv"):
        load_task("tfds", tmp_path, "retinopathy")
    with pytest.raises(DataError, match=r"NWPU-RESISC45\.rar"):
        load_task("tfds", tmp_path, "resisc45")
    (tmp_path / "eurosat" / "rgb" / "1.0.0").mkdir(parents=True)
    (tmp_path / "eurosat" / "rgb" / "1.0.0" / "dataset_info.json").touch()
    with pytest.raises(DataError, match=r"found are versions 1\.0\.0, which are others"):
        load_task("tfds", tmp_path, "eurosat")


def copied(root: Path, target: Path) -> Path:
    shutil.copytree(root / "dsprites", target / "dsprites")
    return target / "dsprites" / "2.0.0"


def test_tfrecords_are_refused(root: Path, tmp_path: Path, small: VtabTask) -> None:
    folder = copied(root, tmp_path)
    (record,) = folder.glob("*.array_record*")
    record.rename(folder / record.name.replace("array_record", "tfrecord"))
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match=r"prepared as tfrecord, which only TensorFlow reads(.|\n)*tfds convert_format"):
        load_task("tfds", tmp_path, "dsprites_loc")


def test_other_sizes_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match=rf"split train has {N} examples, wanted are 737280"):
        load_task("tfds", root, "dsprites_loc")


def test_other_features_and_splits_are_refused(tmp_path: Path, shrink) -> None:
    shrink("smallnorb_azi", {"train": 2, "test": 2})
    content = {i: {"image": png(sprite(i)), "label": 0} for i in range(2)}
    features = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=9)}
    prepare(tmp_path, "smallnorb:2.1.0", features, {"train": content})
    with pytest.raises(
        DataError, match=r"split test is not there(.|\n)*no feature label_azimuth; there are: image, label"
    ):
        load_task("tfds", tmp_path, "smallnorb_azi")


def test_examples_in_another_order_are_refused(tmp_path: Path, shrink) -> None:
    shrink("dsprites_loc", {"train": 3})
    content = {i: {"image": png(sprite(i)), "label_x_position": 0} for i in range(3)}
    features = {
        "image": tfds.features.Image(shape=(8, 8, 1)),
        "label_x_position": tfds.features.ClassLabel(num_classes=32),
    }
    prepare(tmp_path, "dsprites:2.0.0", features, {"train": content}, disable_shuffling=True)
    with pytest.raises(DataError, match="not in the order of their hashed keys"):
        load_task("tfds", tmp_path, "dsprites_loc")


def test_damaged_files_are_data_errors(root: Path, tmp_path: Path, small: VtabTask) -> None:
    folder = copied(root, tmp_path)
    (record,) = folder.glob("*.array_record*")
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    with pytest.raises(DataError, match=r"dsprites/2\.0\.0: train\[0 \.\. 19\] cannot be read"):
        load_task("tfds", tmp_path, "dsprites_loc")
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="not readable as a TFDS dataset"):
        load_task("tfds", tmp_path, "dsprites_loc")


def eurosat(tmp_path: Path, spoilt: int | None = None, size: int = 8) -> Path:
    """A EuroSAT with classes of its own and JPEG files, one of them cut short."""
    features = {
        "image": tfds.features.Image(shape=(size, size, 3)),
        "label": tfds.features.ClassLabel(names=[f"class {c}" for c in range(10)]),
        "filename": tfds.features.Text(),
    }

    def image(i: int) -> io.BytesIO:
        file = io.BytesIO()
        Image.fromarray(np.full((size, size, 3), 4 * i, np.uint8)).save(file, "jpeg")
        return io.BytesIO(file.getvalue()[:-40] if i == spoilt else file.getvalue())

    content = {f"a_{i}": {"image": image(i), "label": i % 10, "filename": f"{i}.jpg"} for i in range(N)}
    prepare(tmp_path, "eurosat/rgb:2.0.0", features, {"train": content})
    return tmp_path


def load_eurosat(root: Path, shrink, **options: int) -> Task:
    shrink("eurosat", {"train": N}, **SMALL)
    return load_task("tfds", root, "eurosat", **options)


def test_encoded_images_are_decoded_by_vpt(tmp_path: Path, shrink) -> None:
    task = load_eurosat(eurosat(tmp_path), shrink)
    assert task.classes == tuple(f"class {c}" for c in range(10))
    first = int(tfds_order("train", [f"a_{i}" for i in range(N)])[0])
    assert int(task.train.decode(0)[0, 0, 0]) == pytest.approx(4 * first, abs=2)
    np.testing.assert_array_equal(task.train.decode_content(0, task.train.content(0)), task.train.decode(0))
    with pytest.raises(DataError, match=r"eurosat/rgb:2\.0\.0/train\[0\]: too large: 8 x 8"):
        load_eurosat(tmp_path, shrink, max_pixels=63).train.decode(0)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, shrink) -> None:
    order = tfds_order("train", [f"a_{i}" for i in range(N)]).tolist()
    task = load_eurosat(eurosat(tmp_path, spoilt=order[33]), shrink)
    with pytest.raises(DataError, match=r"1 of 45 images(.|\n)*eurosat/rgb:2\.0\.0/train\[33\]: cannot be decoded"):
        task.verify()


def test_another_version_with_the_same_examples_is_named(root: Path, tmp_path: Path, small: VtabTask) -> None:
    folder = copied(root, tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "version": "2.1.0"}))
    folder.rename(folder.with_name("2.1.0"))
    task = load_task("tfds", tmp_path, "dsprites_loc")
    assert "dsprites:2.1.0" in task.about
    assert "unlike in 2.0.0: a feature `id` is added" in task.about


def test_the_first_version_that_can_be_read_is_taken(root: Path, tmp_path: Path, small: VtabTask) -> None:
    folder = copied(root, tmp_path)
    info = (folder / "dataset_info.json").read_text()
    shutil.copytree(folder, folder.with_name("2.1.0"))
    (folder.with_name("2.1.0") / "dataset_info.json").write_text(json.dumps({**json.loads(info), "version": "2.1.0"}))
    assert "TFDS' dsprites:2.0.0" in load_task("tfds", tmp_path, "dsprites_loc").about
    (record,) = folder.glob("*.array_record*")
    record.rename(folder / record.name.replace("array_record", "tfrecord"))
    (folder / "dataset_info.json").write_text(info.replace("array_record", "tfrecord"))
    assert "TFDS' dsprites:2.1.0" in load_task("tfds", tmp_path, "dsprites_loc").about
    (folder.with_name("2.1.0") / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"2\.0\.0: is prepared as tfrecord"):  # what is wrong with the protocol's own
        load_task("tfds", tmp_path, "dsprites_loc")


def objects(**features: Any) -> dict[str, Any]:
    """The features of an image with several objects."""
    return {"image": tfds.features.Image(shape=(8, 8, 1)), "objects": tfds.features.Sequence(features)}


def test_kitti_is_labelled_by_its_vehicles(tmp_path: Path, shrink) -> None:
    kinds = ["Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc"]
    features = objects(
        type=tfds.features.ClassLabel(names=kinds), location=tfds.features.Tensor(shape=(3,), dtype=np.float32)
    )
    scenes: list[tuple[list[tuple[str, float]], int]] = [
        ([], 3),
        ([("Car", 30.0), ("Truck", 7.5)], 0),
        ([("Pedestrian", 3.0), ("Van", 12.0)], 1),
        ([("Tram", 2.0)], 3),
        ([("Car", 20.5)], 2),
    ]

    def example(i: int) -> dict[str, Any]:
        found = [{"type": kind, "location": np.array([1, 2, z], np.float32)} for kind, z in scenes[i][0]]
        return {"image": png(sprite(i)), "objects": found}

    content = {split: {f"{split}{i}": example(i) for i in range(5)} for split in ("train", "validation", "test")}
    prepare(tmp_path, "kitti:3.2.0", features, content)
    shrink("kitti", dict.fromkeys(content, 5), train=Slice("train"), val=Slice("validation"))
    for part, images in load_task("tfds", tmp_path, "kitti").sets().items():
        split = {"val": "validation"}.get(part, part)
        order = tfds_order(split, [f"{split}{i}" for i in range(5)])
        assert images.labels.tolist() == [scenes[i][1] for i in order]


def test_clevr_is_labelled_by_its_objects(tmp_path: Path, shrink) -> None:
    features = objects(
        color=tfds.features.ClassLabel(names=["red", "blue"]),
        pixel_coords=tfds.features.Tensor(shape=(3,), dtype=np.float32),
    )

    def example(i: int) -> dict[str, Any]:
        depths = [8.2 + i + k for k in range(3 + i)]
        found = [{"color": "red", "pixel_coords": np.array([1, 2, depth], np.float32)} for depth in depths]
        return {"image": png(sprite(i)), "objects": found}

    content = {split: {f"{i}.png": example(i) for i in range(4)} for split in ("train", "validation")}
    prepare(tmp_path, "clevr:3.1.0", features, content)
    for name, labels in (("clevr_count", [0, 1, 2, 3]), ("clevr_dist", [1, 3, 5, 5])):
        shrink(name, {"train": 4, "validation": 4}, train=Slice("train", 0, 3), val=Slice("train", 3))
        task = load_task("tfds", tmp_path, name)
        order = tfds_order("train", [f"{i}.png" for i in range(4)])
        assert task.trainval.labels.tolist() == [labels[i] for i in order]
        assert sorted(task.test.labels.tolist()) == labels


def test_without_the_library(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(OptionError, match=r"pip install vpt\[tfds\]"):
        load_task("tfds", root, "dsprites_loc")


def test_names_and_roots_are_checked(root: Path) -> None:
    with pytest.raises(OptionError, match=r"'dsprites_lok' \(did you mean 'dsprites_loc'"):
        load_task("tfds", root, "dsprites_lok")
    with pytest.raises(OptionError, match="name is missing; accepted: cifar, caltech101"):
        load_task("tfds", root)
    with pytest.raises(OptionError, match="source 'tfds' needs root"):
        load_task("tfds", None, "cifar")


def test_an_error_ends_no_reader(root: Path) -> None:
    made = Reader(str(root / "dsprites" / "2.0.0"))
    assert [sorted(example) for example in made.ask("train", [0, 5], ["image"])] == [["image"]] * 2
    running = made._process
    with pytest.raises(DataError, match=r"tain\[3\] cannot be read"):
        made.ask("tain", [3], ["image"])
    assert len(made.ask("train", [3], ["image"])) == 1
    assert made._process is running
    running.stdin.close()
    assert running.wait(timeout=60) == 0
    made.close()
