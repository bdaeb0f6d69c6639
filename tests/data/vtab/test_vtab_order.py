"""The order of hashed keys, against the writer of tensorflow_datasets itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpt.data.vtab import TASKS
from vpt.data.vtab.order import tfds_order

KEYS = {
    "index": list(range(500)),
    "file": [f"image_{i:05d}.jpg" for i in range(1, 300)],
    "path": [f"{c}/{c}_{i:04d}.jpg" for c in ("banded", "blotchy") for i in range(90)],
    "part": [f"valid_{i}" for i in range(200)],
    "strange": ["ä", "a\\b", "", " ", "日本"],
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_it_is_the_order_that_tfds_writes(tmp_path: Path, kind: str, split: str) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
    from tfds_samples import prepare

    keys = KEYS[kind]
    features = {"number": tfds.features.Tensor(shape=(), dtype=np.int64)}
    content = {split: {key: {"number": i} for i, key in enumerate(keys)}}
    folder = prepare(tmp_path, "numbers:1.0.0", features, content)

    from vpt.data.vtab.tfds_records import Reader

    examples = Reader(str(folder)).ask(split, range(len(keys)), ["number"])
    assert tfds_order(split, keys).tolist() == [int(example["number"]) for example in examples]


def test_the_first_example_of_cifar() -> None:
    """Known from TFDS' own pages: CIFAR's training split begins with the image train_16399."""
    assert tfds_order("train", range(50000))[0] == 16399


@given(st.lists(st.text(max_size=8).filter(lambda key: "\\" not in key), unique=True, max_size=30), st.randoms())
def test_it_depends_on_keys_alone(keys: list[str], random: object) -> None:
    there = [keys[i] for i in tfds_order("test", keys)]
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert [keys[i] for i in tfds_order("test", keys)] == there


def test_the_image_of_sun397_that_newer_releases_leave_out_is_behind_those_taken() -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
    keys = Path(tfds.core.tfds_path("image_classification/sun397_tfds_tr.txt")).read_text().split()
    (place,) = np.flatnonzero(tfds_order("train", keys) == keys.index("/t/track/outdoor/sun_aophkoiosslinihb.jpg"))
    sun397 = TASKS["sun397"]
    assert f"number {place:,} of train" in sun397.caveats[0]
    assert place >= max(sun397.train.positions(len(keys)).stop, 800)
    assert {sun397.val.split, sun397.test.split} == {"validation", "test"}
