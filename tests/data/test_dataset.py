"""Items, epochs and batches: the same for any number of workers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from samples import picture
from torch.utils.data import Dataset

from vpt.data import ImageDataset, ImageSet, Preprocessing, loader
from vpt.errors import DataError, OptionError


def test_items(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    dataset = ImageDataset(arrays, preprocessing)
    item = dataset[4]
    assert (item["label"], item["index"], len(dataset)) == (1, 4, 12)
    torch.testing.assert_close(item["image"], preprocessing(picture(4)))


def test_augmentation_depends_on_seed_epoch_and_index(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    def image(seed: int, epoch: int, index: int) -> bytes:
        same = ImageSet.from_arrays([picture(0)] * 3, [0] * 3)
        dataset = ImageDataset(same, preprocessing, "strong", seed)
        dataset.set_epoch(epoch)
        return dataset[index]["image"].numpy().tobytes()

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({image(*key) for key in keys}) == 4
    assert image(0, 1, 2) == image(0, 1, 2)


def batches(dataset: ImageDataset, workers: int) -> list[dict[str, Any]]:
    """Two epochs, with the same workers kept between them."""
    batched = loader(dataset, 5, shuffle=True, seed=3, workers=workers)
    seen = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        seen += list(batched)
    return seen


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
def test_workers_do_not_change_the_batches(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    plain, two, four = (batches(ImageDataset(arrays, preprocessing, "strong"), workers) for workers in (0, 2, 4))
    assert len(plain) == 6
    for a, b, c in zip(plain, two, four, strict=True):
        for key in ("index", "label", "image"):
            torch.testing.assert_close(b[key], a[key], rtol=0, atol=0)
            torch.testing.assert_close(c[key], a[key], rtol=0, atol=0)
    first, second = (torch.cat([batch["index"] for batch in plain[i : i + 3]]) for i in (0, 3))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_order_depends_on_seed_and_epoch_alone(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        dataset = ImageDataset(arrays, preprocessing)
        batched = loader(dataset, 4, shuffle=True, seed=seed)
        batched.sampler.set_epoch(epoch)  # what accelerate calls; the dataset follows
        assert dataset.epoch == epoch
        return torch.cat([batch["index"] for batch in batched]).tolist()

    state = torch.random.get_rng_state()
    assert order(0, 5) == order(0, 5)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert torch.equal(torch.random.get_rng_state(), state)
    fixed = loader(ImageDataset(arrays, preprocessing), 4, shuffle=False)
    assert torch.cat([batch["index"] for batch in fixed]).tolist() == list(range(12))


def test_a_dataset_without_epochs_is_shuffled_anew_all_the_same() -> None:
    class Numbers(Dataset[int]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> int:
            return index

    batched = loader(Numbers(), 20, shuffle=True)
    first = next(iter(batched)).tolist()
    batched.sampler.set_epoch(1)
    assert next(iter(batched)).tolist() != first


def test_a_bad_image_stops_the_loader_by_name(tmp_path: Any, arrays: ImageSet, preprocessing: Preprocessing) -> None:
    from vpt.data.pictures import Files

    (tmp_path / "bad.png").write_bytes(b"bad")
    images = ImageSet("x", ["a"], [0], Files((str(tmp_path / "bad.png"),)), "folder")
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"bad\.png"):
            list(loader(ImageDataset(images, preprocessing), 1, shuffle=False, workers=workers))


def test_loader_errors(arrays: ImageSet, preprocessing: Preprocessing) -> None:
    dataset = ImageDataset(arrays, preprocessing)
    with pytest.raises(OptionError, match="batch_size=0, at least 1; workers=-1, at least 0"):
        loader(dataset, 0, shuffle=True, workers=-1)
    with pytest.raises(OptionError, match="leaves no batch of 12"):
        loader(dataset, 13, shuffle=True, drop_last=True)
    with pytest.raises(OptionError, match="seed -1"):
        ImageDataset(arrays, preprocessing, seed=-1)


def test_a_dataset_is_picklable(arrays: ImageSet, preprocessing: Preprocessing, tmp_path: Any) -> None:
    for options in ({"augment": "light"}, {"cache": tmp_path}):
        dataset = ImageDataset(arrays, preprocessing, **options)
        dataset.set_epoch(3)
        again = pickle.loads(pickle.dumps(dataset))
        assert again.epoch == 3
        np.testing.assert_array_equal(again[2]["image"], dataset[2]["image"])
