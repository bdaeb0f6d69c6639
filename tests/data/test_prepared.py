"""A prepared task is the task: pixels, labels, names, digests and record, whatever its images were."""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import of_source, picture, write_folders

from vpt.data import ImageDataset, ImageSet, Preprocessing, Task, few_shot, load_task, loader
from vpt.data.decode import Pixels, decode_bytes
from vpt.data.embedded.shapes import Rendered
from vpt.data.pictures import Arrays, packed, unpacked
from vpt.data.prepared import is_prepared, open_prepared, prepare, verify_prepared
from vpt.data.prepared.store import Prepared
from vpt.data.sources.torchvision_pictures import Recipe, TorchvisionPictures
from vpt.errors import DataError, OptionError

MAPPED = "images.bin"


def same(one: Task, other: Task) -> None:
    """Everything that a user can ask of a task."""
    assert of_source(one) == of_source(other)
    assert (one.whole is None) == (other.whole is None)
    for part in ("train", "val", "test", "trainval"):
        a, b = ({**task.sets(), "trainval": task.trainval}[part] for task in (one, other))
        assert (a.name, a.route, a.classes, a.digest()) == (b.name, b.route, b.classes, b.digest())
        np.testing.assert_array_equal(a.labels, b.labels)
        for i in range(len(a)):
            np.testing.assert_array_equal(a.decode(i), b.decode(i))
            assert a.describe(i) == b.describe(i)


def of_arrays(images: list[np.ndarray], name: str = "mixed") -> Task:
    """A task whose three sets each hold `images`."""
    labels = [i % 2 for i in range(len(images))]
    train, val, test = (ImageSet.from_arrays(images, labels, "ab", f"{name}/{part}") for part in ("t", "v", "e"))
    return Task(name, train, val, test, about="arrays", splits={"test": "all"}, deviations=("made up",))


def vtab(root: Path, counts: tuple[int, int, int] = (6, 4, 5), size: tuple[int, int] = (20, 30)) -> Path:
    """A VTAB folder with PNG and JPEG files, and train and validation in an order of their own."""
    lists: dict[str, list[str]] = {"train800": [], "val200": [], "test": []}
    (root / "cifar").mkdir(parents=True)
    for seed, part in enumerate(part for part, n in zip(lists, counts, strict=True) for _ in range(n)):
        file = f"{seed}.{'png' if seed % 2 else 'jpg'}"
        Image.fromarray(picture(seed, size[0] + seed, size[1])).save(root / "cifar" / file)
        lists[part].append(f"{file} {seed % 3}")
    lists["train800val200"] = [*lists["val200"], *reversed(lists["train800"])]
    for part, lines in lists.items():
        (root / "cifar" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_files_are_kept_byte_by_byte(tmp_path: Path, kind: str) -> None:
    task = load_task("folder", write_folders(tmp_path / "images", {"a": 6, "b": 5}, kind))
    folder = prepare(task, tmp_path / "out")
    same(open_prepared(folder), task)
    contents = [s.content(i) for s in task.sets().values() for i in range(len(s))]
    assert (folder / MAPPED).read_bytes() == b"".join(contents)
    verify_prepared(folder)


def test_an_order_of_train_and_val_together_costs_no_second_copy(tmp_path: Path) -> None:
    task = load_task("vtab", vtab(tmp_path / "vtab"), "cifar")
    folder = prepare(task, tmp_path / "cifar")
    same(open_prepared(folder), task)
    files = {path for s in task.sets().values() for path in map(s.describe, range(len(s)))}
    assert (folder / MAPPED).stat().st_size == sum(Path(path).stat().st_size for path in files)
    same(load_task("prepared", tmp_path, "cifar"), task)
    same(load_task("prepared", folder), task)


def test_arrays_grey_coloured_and_of_mixed_sizes(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (7, 5), np.uint8)
    task = of_arrays([picture(1), grey, picture(2, 3, 4), grey.T.copy(), picture(3, 1, 1)])
    folder = prepare(task, tmp_path / "mixed")
    same(open_prepared(folder), task)
    stored = sum(
        len(packed(np.asarray(image))) for image in [picture(1), grey, picture(2, 3, 4), grey.T, picture(3, 1, 1)]
    )
    assert (folder / MAPPED).stat().st_size == stored  # grey stays grey, and equal sets are written once


image = st.builds(
    lambda h, w, colour, seed: np.random.default_rng(seed).integers(0, 256, (h, w, *colour), np.uint8),
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (3,)]), st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(sets=st.tuples(*[st.lists(image, min_size=1, max_size=6)] * 3), data=st.data(), resize=st.booleans())
def test_any_arrays_survive(sets: tuple[list[np.ndarray], ...], data: st.DataObject, resize: bool) -> None:
    labels = [data.draw(st.lists(st.integers(0, 2), min_size=len(s), max_size=len(s))) for s in sets]
    task = Task("any", *(ImageSet.from_arrays(s, y, "xyz", n) for s, y, n in zip(sets, labels, "tve", strict=True)))
    preprocessing = Preprocessing((4, 6)) if resize else None
    with tempfile.TemporaryDirectory() as folder:
        opened = open_prepared(prepare(task, Path(folder) / "any", preprocessing))
        assert of_source(opened) == of_source(task)
        for part, images in task.sets().items():
            for i in range(len(images)):
                wanted = preprocessing.resize(images.decode(i)) if preprocessing else images.decode(i)
                np.testing.assert_array_equal(opened.sets()[part].decode(i), wanted)
        verify_prepared(Path(folder) / "any")


@given(image)
def test_packed_pixels_unpack_and_nothing_else_does(pixels: np.ndarray) -> None:
    content = packed(pixels)
    found = unpacked(content)
    assert found is not None
    np.testing.assert_array_equal(found, pixels)
    assert found.shape == pixels.shape
    assert unpacked(content + b"0") is None
    assert unpacked(content[:-1]) is None
    assert unpacked(b"\x89PNG" + content) is None


@pytest.mark.parametrize("more", [{}, {"interpolation": "bilinear", "antialias": False}])
def test_resized_once_is_what_resizing_each_time_gives(tmp_path: Path, more: dict[str, object]) -> None:
    task = load_task("vtab", vtab(tmp_path / "vtab"), "cifar")
    preprocessing = Preprocessing((8, 12), **more)
    folder = prepare(task, tmp_path / "small", preprocessing)
    opened = open_prepared(folder)
    assert of_source(opened) == of_source(task)
    assert (folder / MAPPED).stat().st_size == 15 * 8 * 12 * 3
    for part, images in {**task.sets(), "trainval": task.trainval}.items():
        there = {**opened.sets(), "trainval": opened.trainval}[part]
        one, other = ImageDataset(images, preprocessing), ImageDataset(there, preprocessing)
        for i in range(len(images)):
            np.testing.assert_array_equal(there.decode(i), preprocessing.resize(images.decode(i)))
            np.testing.assert_array_equal(other[i]["image"], one[i]["image"])


def test_what_was_resized_serves_no_other_resize(tmp_path: Path) -> None:
    task = of_arrays([picture(i) for i in range(4)])
    opened = open_prepared(prepare(task, tmp_path / "a", Preprocessing(8)))
    ImageDataset(opened.train, Preprocessing(8, mean=(0, 0, 0)))
    for other in (Preprocessing(9), Preprocessing(8, antialias=False), Preprocessing(8, interpolation="bilinear")):
        for images in (opened.train, opened.trainval, opened.test.subset([0])):
            with pytest.raises(OptionError, match=r"prepared with .*8, 8.*asked for"):
                ImageDataset(images, other)
        with pytest.raises(OptionError, match="was resized already"):
            prepare(opened, tmp_path / "b", other)
    with pytest.raises(OptionError, match="was resized already"):
        prepare(opened, tmp_path / "b")
    with pytest.raises(DataError, match="resized in different ways"):
        opened.train.join(task.train)
    again = open_prepared(prepare(opened, tmp_path / "b", Preprocessing(8)))
    same(again, opened)
    assert of_source(again) == of_source(task)


def test_digests_of_parts_are_those_of_the_source(tmp_path: Path) -> None:
    task = of_arrays([picture(i) for i in range(8)])
    for number, preprocessing in enumerate((None, Preprocessing(4))):
        opened = open_prepared(prepare(task, tmp_path / str(number), preprocessing))
        assert few_shot(opened.train, 2).digest() == few_shot(task.train, 2).digest()
        assert opened.trainval.digest() == task.trainval.digest()
        assert opened.test.subset([5, 1]).digest() == task.test.subset([5, 1]).digest()


def test_no_image_is_read_to_open_a_task_or_tell_its_record(tmp_path: Path) -> None:
    task = of_arrays([picture(i) for i in range(4)])
    folder = prepare(task, tmp_path / "a")
    size = (folder / MAPPED).stat().st_size
    (folder / MAPPED).write_bytes(bytes(size))  # only its size is looked at
    assert of_source(open_prepared(folder)) == of_source(task)


def test_workers_map_the_file_themselves(tmp_path: Path) -> None:
    task = of_arrays([picture(i) for i in range(9)])
    images = open_prepared(prepare(task, tmp_path / "a")).train
    images.decode(0)
    assert len(pickle.dumps(images)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)).decode(3), task.train.decode(3))
    batches = [list(loader(ImageDataset(s, Preprocessing(8)), 4, shuffle=False, workers=w))
               for s, w in ((task.train, 0), (images, 2))]  # fmt: skip
    for one, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


@dataclass(frozen=True)
class Png:
    """Pictures that do not say that their content is a PNG, and may do more than decode it."""

    images: tuple[bytes, ...]
    change: Callable[[Pixels], Pixels] = np.asarray
    decoded: list[int] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def decode(self, i: int) -> Pixels:
        if self.decoded is not None:
            self.decoded.append(i)
        return np.ascontiguousarray(self.change(decode_bytes(self.images[i], self.describe(i))))

    def describe(self, i: int) -> str:
        return f"png[{i}]"

    def content(self, i: int) -> bytes:
        return self.images[i]


@pytest.mark.parametrize(("change", "kept"), [(np.asarray, True), (np.flipud, False), (lambda p: p[:, 1:], False)])
def test_encoded_content_is_kept_where_decoding_it_is_all(
    tmp_path: Path, change: Callable[[Pixels], Pixels], kept: bool
) -> None:
    files = []
    for i in range(3):
        buffer = io.BytesIO()
        Image.fromarray(picture(i)).save(buffer, "png")
        files.append(buffer.getvalue())
    decoded: list[int] = []
    images = ImageSet("png", "abc", range(3), Png(tuple(files), change, decoded), "custom")
    task = Task("png", images.subset([0]), images.subset([1]), images.subset([2]))
    folder = prepare(task, tmp_path / "png")
    assert sorted(decoded) == [0, 1, 2]  # each once
    same(open_prepared(folder), task)
    assert ((folder / MAPPED).read_bytes() == b"".join(files)) == kept
    twice = open_prepared(prepare(open_prepared(folder), tmp_path / "twice"))
    same(twice, task)


def test_every_file_is_read_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("vtab", vtab(tmp_path / "vtab"), "cifar")
    seen: list[str] = []

    def counting(content: bytes, name: str, max_pixels: int) -> Pixels:
        seen.append(name)
        return decode_bytes(content, name, max_pixels)

    monkeypatch.setattr("vpt.data.pictures.decode_bytes", counting)
    told: list[tuple[int, int]] = []
    prepare(task, tmp_path / "cifar", progress=lambda *at: told.append(at))
    assert len(seen) == len(set(seen)) == 15
    assert told == [(i + 1, 25) for i in range(25)]


def test_the_same_task_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = of_arrays([picture(i) for i in range(4)])
    folder = prepare(task, tmp_path / "a", Preprocessing(8))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(ImageSet, "decode", lambda *_: pytest.fail("decoded again"))
    assert prepare(task, folder, Preprocessing(8, mean=(0, 0, 0))) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_another_task_in_the_folder_is_refused(tmp_path: Path) -> None:
    task = of_arrays([picture(i) for i in range(4)])
    folder = prepare(task, tmp_path / "a")
    with pytest.raises(DataError, match=r"holds another task(.|\n)*resize: None, now .*8, 8"):
        prepare(task, folder, Preprocessing(8))
    changed = of_arrays([picture(i) for i in range(1, 5)])
    with pytest.raises(DataError, match=r"train: .*\n  val: .*\n  test: "):
        prepare(changed, folder)
    with pytest.raises(DataError, match="name: mixed, now other"):
        prepare(replace(task, name="other"), folder)
    with pytest.raises(DataError, match="trainval: None"):
        prepare(replace(task, whole=task.train), folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for place in (tmp_path / "full", tmp_path / "full" / "notes.txt"):
        with pytest.raises(DataError, match="something other than a prepared task"):
            prepare(task, place)
    (tmp_path / "empty").mkdir()
    same(open_prepared(prepare(task, tmp_path / "empty")), task)


def test_the_source_names_what_is_there(tmp_path: Path) -> None:
    prepare(of_arrays([picture(i) for i in range(4)], "digits"), tmp_path / "digits")
    with pytest.raises(DataError, match=r"'digits'\?\); found in .*: digits"):
        load_task("prepared", tmp_path, "digit")
    with pytest.raises(DataError, match="is no prepared task; found in"):
        load_task("prepared", tmp_path)
    with pytest.raises(OptionError, match="needs root"):
        load_task("prepared", None, "digits")
    assert is_prepared(tmp_path / "digits")
    assert not is_prepared(tmp_path)
    shots = load_task("prepared", tmp_path, "digits", shots=1)
    assert len(shots.train) == 2


def test_the_record_tells_what_made_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = of_arrays([picture(i) for i in range(4)])
    assert "prepared_with" not in task.record()
    made = {"pillow": PIL.__version__, "torch": torch.__version__}
    opened = [open_prepared(prepare(task, tmp_path / str(p), p)) for p in (None, Preprocessing(8))]
    monkeypatch.setattr(PIL, "__version__", "later")
    assert [task.record()["prepared_with"] for task in opened] == [made, made]
    assert few_shot(opened[1].train, 1).resized() is not None
    for number, task in enumerate(opened):  # the whole ones are resized here, the others are resized already
        again = open_prepared(prepare(task, tmp_path / f"again {number}", Preprocessing(8)))
        assert again.record()["prepared_with"]["pillow"] == ("later", made["pillow"])[number]
        assert replace(again, name="other").record()["prepared_with"] == again.prepared_with


def test_images_that_sets_share_are_told(tmp_path: Path) -> None:
    def images(name: str, *seeds: int) -> ImageSet:
        return ImageSet.from_arrays([picture(i) for i in seeds], [0] * len(seeds), "a", name)

    task = Task("shared", images("t", 0, 1, 2), images("v", 2, 3), images("e", 4, 0, 3, 3), deviations=("made up",))
    lines = (
        "made up",
        "1 of the 2 images of val are also in train, byte for byte",
        "3 of the 4 images of test are also in train or val, byte for byte",
    )
    opened = open_prepared(prepare(task, tmp_path / "a"))
    assert opened.deviations == lines
    assert open_prepared(prepare(opened, tmp_path / "b")).deviations == lines  # each once
    apart = Task("apart", images("t", 0, 1), images("v", 2, 3), images("e", 4, 5))
    assert open_prepared(prepare(apart, tmp_path / "c")).deviations == ()


def of_torchvision() -> Task:
    """A task out of a dataset of torchvision's kind that keeps its images in memory."""
    pictures = TorchvisionPictures(Recipe("Kept", None))
    pictures.dataset = [(Image.fromarray(picture(i)), i % 2) for i in range(9)]
    images = ImageSet("kept", "ab", pictures.labels(), pictures, "torchvision")
    return Task("kept", *(images.subset(range(start, 9, 3)) for start in range(3)))


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(8)])
@pytest.mark.parametrize("kind", ["rendered", "torchvision", "arrays", "prepared"])
def test_no_image_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, preprocessing: Preprocessing | None
) -> None:
    task = {
        "rendered": lambda: load_task("embedded", None, "count", train=6, val=6, test=6),
        "torchvision": of_torchvision,
        "arrays": lambda: of_arrays([picture(i) for i in range(4)]),
        "prepared": lambda: open_prepared(prepare(of_arrays([picture(i) for i in range(4)]), tmp_path / "before")),
    }[kind]()
    wanted = {part: [images.decode(i) for i in range(len(images))] for part, images in task.sets().items()}
    made: list[tuple[str, int]] = []
    for cls in (Rendered, TorchvisionPictures, Arrays, Prepared):

        def counting(self: Any, i: int, decode: Callable[[Any, int], Pixels] = cls.decode) -> Pixels:
            made.append((self.describe(i), i))
            return decode(self, i)

        monkeypatch.setattr(cls, "decode", counting)
    folder = prepare(task, tmp_path / "after", preprocessing)
    assert len(made) == len(set(made))
    monkeypatch.undo()
    opened = open_prepared(folder)
    for part, expected in wanted.items():
        for i, pixels in enumerate(expected):
            there = opened.sets()[part].decode(i)
            np.testing.assert_array_equal(there, preprocessing.resize(pixels) if preprocessing else pixels)
