"""ImageSet and Task: nothing is lost, everything is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import picture, write_folders

from vpt.data import ImageSet, Task, load_task
from vpt.errors import DataError


def test_class_names_that_are_no_text_are_named() -> None:
    pixels = np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(DataError, match=r"arrays: class names that are no text of UTF-8: 'caf\\udce9'$"):
        ImageSet.from_arrays(pixels, [0, 1], ["caf\udce9", "café"])


def test_subset_keeps_order_and_content(arrays: ImageSet) -> None:
    chosen = arrays.subset([7, 2, 2]).subset([2, 0])
    assert chosen.labels.tolist() == [2, 1]
    np.testing.assert_array_equal(chosen.decode(1), picture(7))
    assert [chosen.describe(i) for i in range(2)] == ["arrays[2]", "arrays[7]"]


@pytest.mark.parametrize("indices", [[12], [-1], [[0]], [0.5], []])
def test_subset_refuses_what_is_not_there(arrays: ImageSet, indices: list[int]) -> None:
    with pytest.raises(DataError, match="arrays"):
        arrays.subset(indices)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 3], r"0 \.\. 2.*arrays\[1\]: 3"), ([0, -1], r"arrays\[1\]: -1"), ([0], "2 images"), ([0.0, 1.0], "whole")],
)
def test_labels_must_fit(labels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.from_arrays([picture(0), picture(1)], labels, "abc")


def test_images_in_memory_must_be_uint8_and_grey_or_rgb() -> None:
    with pytest.raises(DataError, match="wrong at 1"):
        ImageSet.from_arrays([picture(0), picture(0) / 255], [0, 0])
    grey = ImageSet.from_arrays(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), [0, 1])
    assert grey.decode(1).shape == (2, 2, 3)
    assert grey.decode(1)[0, 1].tolist() == [5, 5, 5]


def test_digest_tells_pixels_labels_and_order_apart(arrays: ImageSet) -> None:
    forward, backward = arrays.subset([0, 1]), arrays.subset([1, 0])
    relabelled = ImageSet.from_arrays([picture(0), picture(1)], [1, 1], "abc")
    same = ImageSet.from_arrays([picture(0), picture(1)], [0, 1], "abc", "another name")
    assert len({forward.digest(), backward.digest(), relabelled.digest()}) == 3
    assert same.digest() == forward.digest()


def test_digest_of_files_follows_their_bytes(tmp_path: Path) -> None:
    task = load_task("folder", write_folders(tmp_path, {"a": 5, "b": 5}))
    before = task.train.digest()
    assert pickle.loads(pickle.dumps(task.train)).digest() == before
    Image.fromarray(picture(99)).save(task.train.describe(0))
    assert pickle.loads(pickle.dumps(task.train)).digest() != before


def test_join(arrays: ImageSet) -> None:
    both = arrays.subset([1, 2]).join(arrays.subset([9]))
    assert both.labels.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(both.decode(2), picture(9))
    assert both.subset([2]).describe(0) == "arrays[9]"
    with pytest.raises(DataError, match="different classes"):
        arrays.join(ImageSet.from_arrays([picture(0)], [0], "ab"))


def test_verify_names_all_bad_images_of_all_sets(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_folders(tmp_path / part, {"a": 3, "b": 3})
    bad = [tmp_path / "train/a/001.png", tmp_path / "test/b/000.png", tmp_path / "test/b/002.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-40])
    task = load_task("folder", tmp_path)
    steps: list[tuple[int, int]] = []
    with pytest.raises(DataError, match="3 of 18") as caught:
        task.verify(lambda done, total: steps.append((done, total)))
    assert all(str(path) in str(caught.value) for path in bad)
    assert steps == [(n, 18) for n in range(1, 19)]
    task.val.verify()
    assert len(task.test) == 6  # nothing was dropped


def test_verify_looks_at_the_whole_where_it_has_images_of_its_own(tmp_path: Path) -> None:
    parts = ("train", "val", "test", "more")
    tasks = [load_task("folder", write_folders(tmp_path / part, {"a": 3, "b": 3})) for part in parts]
    train, val, test, more = (task.test for task in tasks)  # two images each
    steps: list[tuple[int, int]] = []
    Task("t", train, val, test, train.join(val)).verify(lambda done, total: steps.append((done, total)))
    assert steps[-1] == (6, 6)
    Path(more.describe(1)).write_bytes(b"broken")
    with pytest.raises(DataError, match="1 of 8") as caught:
        Task("t", train, val, test, train.join(val).join(more)).verify()
    assert more.describe(1) in str(caught.value)


def test_task_wants_the_same_classes_everywhere(arrays: ImageSet) -> None:
    other = ImageSet.from_arrays([picture(0)], [0], "xyz")
    with pytest.raises(DataError, match="val has other classes"):
        Task("t", arrays, other, arrays)


def test_trainval_and_record(arrays: ImageSet) -> None:
    task = Task("t", arrays.subset([0, 1]), arrays.subset([5]), arrays.subset([3, 4]))
    assert task.trainval.labels.tolist() == [0, 1, 2]
    record = task.record()
    assert record["sizes"] == {"train": 2, "val": 1, "test": 2}
    assert record["digests"]["test"] == task.test.digest()
    assert record["decoding"]["alpha"] == "composited over white"
