"""Webdataset shards: what they hold, in their order, and everything that is wrong with them at once."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import of_source

from vpt.data import ImageDataset, Preprocessing, load_task, loader
from vpt.data.prepared import open_prepared, prepare
from vpt.data.sources.tar_shards import index
from vpt.data.sources.wds import NOT_VTAB, THEIRS
from vpt.data.vtab import TASKS
from vpt.errors import DataError, OptionError

Members = Iterable[tuple[str, bytes]]
TRAIN, TEST = 1010, 12


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (2 + i % 3, 3, 3), np.uint8)


def encoded(i: int, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(i)).save(buffer, "jpeg" if kind == "jpg" else kind, lossless=True)
    return buffer.getvalue()


def sample(i: int, label: object, kind: str = "png") -> list[tuple[str, bytes]]:
    return [(f"s{i:07d}.cls", str(label).encode()), (f"s{i:07d}.{kind}", encoded(i, kind))]


def write(shard: Path, members: Members) -> Path:
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return shard


def shards(folder: Path, count: int, per_shard: int, digits: int = 1, kind: str = "png", first: int = 0) -> None:
    for number, start in enumerate(range(0, count, per_shard)):
        chosen = range(start, min(start + per_shard, count))
        members = [member for i in chosen for member in sample(first + i, i % 100, kind)]
        write(folder / f"{number:0{digits}d}.tar", members)
    (folder / "nshards.txt").write_text(f"{number + 1}\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A webdataset called as that of VTAB-1K's CIFAR-100; eleven shards, so that 10 comes after 9 and not after 1."""
    root = tmp_path_factory.mktemp("wds")
    shards(root / "wds_vtab-cifar100" / "train", TRAIN, 99)
    shards(root / "wds_vtab-cifar100" / "test", TEST, 5, digits=5, kind="webp", first=TRAIN)
    (root / "wds_vtab-cifar100" / "classnames.txt").write_text("".join(f"class {c}\n" for c in range(100)))
    return root


def test_images_and_labels_in_the_order_of_the_shards(root: Path) -> None:
    task = load_task("wds", root, "cifar")
    assert {part: len(images) for part, images in task.sets().items()} == {"train": 800, "val": 200, "test": TEST}
    assert (task.name, task.route, len(task.classes), task.classes[7]) == ("cifar", "wds", 100, "class 7")
    for images, places, seed in (
        (task.train, range(800), 0),
        (task.val, range(800, 1000), 800),
        (task.test, range(TEST), TRAIN),
    ):
        assert images.labels.tolist() == [place % 100 for place in places]
        for i in (0, 1, len(places) // 2, len(places) - 1):
            np.testing.assert_array_equal(images.decode(i), pixels(seed + i))
    assert task.train.describe(99).endswith("train/1.tar:s0000099.png")
    assert [images.name for images in task.sets().values()] == ["cifar/train", "cifar/val", "cifar/test"]
    task.verify()


def test_it_says_that_train_and_val_are_not_known_to_be_those_of_vtab(root: Path) -> None:
    task = load_task("wds", root, "cifar")
    assert "not known" in task.about
    assert all("not known" in task.splits[part] for part in ("train", "val"))
    assert "not known" in task.deviations[0]
    assert f"test has {TEST} images" in " ".join(task.deviations)
    assert task.record()["deviations"] == list(task.deviations)


@pytest.mark.parametrize("name", ["cifar", "cifar100", "CIFAR100", "wds_vtab-cifar100"])
def test_all_its_names_find_a_task(root: Path, name: str) -> None:
    assert load_task("wds", root, name).name == "cifar"


def test_the_folder_itself_may_be_the_root(root: Path) -> None:
    assert load_task("wds", root / "wds_vtab-cifar100").name == "cifar"


def test_the_nearest_name_is_told(root: Path) -> None:
    for given, hint in (("cifar10", "cifar100"), ("cifr", "cifar"), ("wds_vtab-cifar", "wds_vtab-cifar100")):
        with pytest.raises(
            DataError, match=rf"no webdataset '{given}' \(did you mean '{hint}'\?\); found: wds_vtab-cif"
        ):
            load_task("wds", root, given)
    with pytest.raises(DataError, match=r"no webdataset 'svhn' \(wds_vtab-svhn\)"):
        load_task("wds", root, "svhn")
    with pytest.raises(OptionError, match="needs root"):
        load_task("wds", None, "cifar")


@pytest.mark.parametrize("name", ["sun397", "SUN397", "wds_sun397"])
def test_a_folder_that_holds_another_task_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "wds_sun397" / "train").mkdir(parents=True)
    with pytest.raises(OptionError, match=r"cannot give \w+: wds_sun397 is all of .* in the order of its classes"):
        load_task("wds", tmp_path, name)
    with pytest.raises(DataError, match="in the order of its classes"):
        load_task("wds", tmp_path / "wds_sun397")


@pytest.mark.parametrize(
    ("name", "values"), [("dsprites_loc", {0: 0, 1: 0, 30: 15, 31: 15}), ("dsprites_ori", {0: 0, 2: 0, 3: 1, 39: 15})]
)
def test_labels_of_dsprites_are_put_into_the_bins_of_vtab(tmp_path: Path, name: str, values: dict[int, int]) -> None:
    labels = list(values)
    folder, image = tmp_path / THEIRS[name], encoded(0)
    for part, n in (("train", 1000), ("test", 4)):
        members = [m for i in range(n) for m in ((f"{i}.cls", str(labels[i % 4]).encode()), (f"{i}.png", image))]
        write(folder / part / "0.tar", members)
    (folder / "classnames.txt").write_text("".join(f"{value}\n" for value in range(40)))
    task = load_task("wds", tmp_path, name)
    assert task.test.labels.tolist() == list(values.values())
    assert set(task.trainval.labels.tolist()) == set(values.values())
    assert task.classes == tuple(map(str, range(16)))
    lacking = 16 - len(set(values.values()))
    assert f"train has no image of {lacking} of the 16 classes: " in " ".join(task.deviations)
    write(folder / "test" / "0.tar", [("a.cls", b"40"), ("a.png", image)])
    with pytest.raises(DataError, match=r"a\.png: label 40 is none of the classes 0 \.\. 15 in bins: it is in (16|20)"):
        load_task("wds", tmp_path, name)


def test_classes_without_an_image_to_train_with_are_told(tmp_path: Path) -> None:
    image = encoded(0)
    for part, n in (("train", 1000), ("test", 20)):  # in the order of the classes: 100 images of each
        members = [m for i in range(n) for m in ((f"{i}.cls", str(i // 100).encode()), (f"{i}.png", image))]
        write(tmp_path / "wds_mine" / part / "0.tar", members)
    assert load_task("wds", tmp_path, "mine").deviations == ("train has no image of 2 of the 10 classes: 8, 9",)


@pytest.mark.parametrize(("kind", "told"), [("jpg", "2 of 1,012 images are JPEG re-encodings"), ("png", None)])
def test_files_with_loss_of_a_lossless_original_are_told(
    root: Path, tmp_path: Path, kind: str, told: str | None
) -> None:
    (tmp_path / "wds_vtab-cifar100").mkdir()
    (tmp_path / "wds_vtab-cifar100" / "train").symlink_to(root / "wds_vtab-cifar100" / "train")
    shards(tmp_path / "wds_vtab-cifar100" / "test", 12, 1)
    for i in range(2):
        write(tmp_path / "wds_vtab-cifar100" / "test" / f"{i}.tar", sample(i, i, kind))
    lines = [line for line in load_task("wds", tmp_path, "cifar").deviations if "re-encodings" in line]
    assert [line.startswith(told or "") for line in lines] == [True] * bool(told)


def test_every_task_of_vtab_has_a_folder_there_or_a_reason() -> None:
    assert [*THEIRS, *NOT_VTAB] == [*(name for name in TASKS if name not in NOT_VTAB), *NOT_VTAB]
    assert len(set(THEIRS.values())) == len(THEIRS)


def test_other_webdatasets_are_taken_too(root: Path, tmp_path: Path) -> None:
    (tmp_path / "wds_mine").symlink_to(root / "wds_vtab-cifar100")
    task = load_task("wds", tmp_path, "mine")
    assert (task.name, task.deviations) == ("wds_mine", ())


def test_it_goes_into_workers_and_into_a_prepared_folder(root: Path, tmp_path: Path) -> None:
    task = load_task("wds", root, "cifar")
    images = pickle.loads(pickle.dumps(task.test))
    batches = list(loader(ImageDataset(images, Preprocessing(4)), 5, shuffle=False, workers=2))
    np.testing.assert_array_equal(batches[0]["image"][3], Preprocessing(4)(pixels(TRAIN + 3)))
    opened = open_prepared(prepare(task, tmp_path / "cifar"))
    assert of_source(opened) == of_source(task)
    stored = sum(len(encoded(i)) for i in range(1000)) + sum(len(encoded(TRAIN + i, "webp")) for i in range(TEST))
    assert (tmp_path / "cifar" / "images.bin").stat().st_size == stored


def faults(folder: Path) -> str:
    return "\n".join(index(folder, 10**6).faults)


def test_numbers_stand_in_where_no_class_names_are(tmp_path: Path) -> None:
    for part, n in (("train", 1000), ("test", 3)):
        shards(tmp_path / "wds_vtab-svhn" / part, n, 1000)
        shards(tmp_path / "wds_other" / part, n, 1000)
    assert load_task("wds", tmp_path, "other").classes == tuple(map(str, range(100)))
    with pytest.raises(DataError, match=r"0.tar:s0000010.png: label 10 is none of the classes 0 \.\. 9") as caught:
        load_task("wds", tmp_path, "svhn")  # has ten classes in VTAB-1K
    assert str(caught.value).count("is none of the classes") == 900


def test_too_few_training_images_are_refused(tmp_path: Path) -> None:
    for part, n in (("train", 999), ("test", 3)):
        shards(tmp_path / "wds_x" / part, n, 1000)
    with pytest.raises(DataError, match=r"train: has 999 images; 800 \+ 200 are needed"):
        load_task("wds", tmp_path, "x")


def test_all_faults_of_a_task_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "x" / "train" / "0.tar", [*sample(0, "one"), *sample(1, 1)[:1], *sample(2, 2)[1:], *sample(3, -1)])
    write(tmp_path / "x" / "train" / "2.tar", sample(4, 0))
    (tmp_path / "x" / "train" / "nshards.txt").write_text("4")
    with pytest.raises(DataError) as caught:
        load_task("wds", tmp_path, "x")
    told = str(caught.value)
    for said in (
        "x: 6 faults:",
        "train: has not the shards 1, 3 of 4",
        "0.tar:s0000001.cls: has no image",
        "0.tar:s0000002.png: has no s0000002.cls",
        "0.tar:s0000000.cls: 'one' is no label",
        "0.tar:s0000003.cls: '-1' is no label",
        "test: has no shards",
    ):
        assert said in told


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 1024, 1100, 1536, 2100])
def test_a_shard_cut_short_is_named(tmp_path: Path, kept: int) -> None:
    shard = write(tmp_path / "0.tar", [*sample(0, 0), *sample(1, 1)])
    whole = shard.read_bytes()
    assert faults(tmp_path) == ""
    shard.write_bytes(whole[:kept])
    assert "0.tar: is damaged or cut short: " in faults(tmp_path)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    shard = write(tmp_path / "0.tar", [*sample(0, 0), *sample(1, 1)])
    whole = shard.read_bytes()
    for at in (10, 1024 + 10, 2048 + 130):
        shard.write_bytes(whole[:at] + b"\x9f" + whole[at + 1 :])
        assert "0.tar: is damaged or cut short: " in faults(tmp_path)


def test_shards_are_held_against_their_number(tmp_path: Path) -> None:
    for name in ("0", "00001", "1", "extra"):
        write(tmp_path / f"{name}.tar", sample(0, 0))
    told = faults(tmp_path)
    assert "1.tar: is shard 1 a second time" in told
    assert "extra.tar: is no numbered shard" in told
    (tmp_path / "nshards.txt").write_text("1")
    assert "is beyond the 1 shards" in faults(tmp_path)
    for text in ("", "many", "99999999999"):
        (tmp_path / "nshards.txt").write_text(text)
        assert f"{text!r} is no number of shards" in faults(tmp_path)


def test_samples_are_all_members_of_a_key(tmp_path: Path) -> None:
    inner = [(f"deep/er.v1/{name}", content) for name, content in sample(0, 3)]
    upper = [("s0000002.JPG", encoded(2, "jpg")), ("s0000002.cls", b"5")]
    write(tmp_path / "0.tar", [*inner, ("s0.json", b"{}"), *sample(1, " 4\n", "webp"), *upper])
    split = index(tmp_path, 10**6)
    assert (split.faults, split.labels) == ([], [3, 4, 5])
    assert [split.pictures.describe(i).partition(":")[2] for i in range(3)] == [
        "deep/er.v1/s0000000.png", "s0000001.webp", "s0000002.JPG",
    ]  # fmt: skip
    write(tmp_path / "0.tar", [*sample(0, 3), ("s0000000.jpg", b"x"), ("s0000000.cls", b"1")])
    told = faults(tmp_path)
    assert "s0000000 has another image already" in told
    assert "s0000000 has another label already" in told


def test_an_undecodable_image_is_named(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "0.tar", [("a.cls", b"0"), ("a.png", b"no image"), *sample(1, 1)])
    pictures = index(tmp_path, 10**6).pictures
    with pytest.raises(DataError, match=r"0.tar:a.png: not an image"):
        pictures.decode(0)
    (tmp_path / "0.tar").unlink()
    with pytest.raises(DataError, match=r"0.tar:s0000001.png: cannot be read"):
        pictures.decode(1)
    with pytest.raises(DataError, match=r"too large"):
        load_task("wds", root, "cifar", max_pixels=3).train.decode(0)
