"""What is frozen is computed once per image, and gives the same as once per epoch."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.matrix import small

import vpt
from vpt.data import ImageDataset, Preprocessing, load_task
from vpt.errors import DataError, TrainingError
from vpt.training import evaluate, fit
from vpt.training.devices import accelerator_for
from vpt.training.frozen_inputs import SUFFIX, FrozenInputs, Store
from vpt.training.log import Logger
from vpt.training.needed import Heads, Tail, first_learned_block, needed_part

from .tiny import quick

VIT, EVA, BEIT, DEIT = "flexivit_base", "mixed rotary", "beit, both biases", "deit_base_distilled_patch16_224"
IMAGES = 24 + 12


def images_of(backbone, augment="none"):
    task = load_task("embedded", None, "digits", train=24, val=12, test=5)
    pixels = Preprocessing.of(backbone)
    return ImageDataset(task.train, pixels, augment=augment), ImageDataset(task.val, pixels)


def run(variant, method, *, cache_gb=1.0, cache=None, augment="none", block=0, model=None, options=(), **settings):
    """A trained model, its history, and how many images went through block `block` of the backbone."""
    backbone = model or small(variant)
    seen = []
    handle = backbone.blocks[block].register_forward_hook(lambda m, a, out: seen.append(len(out)))
    tuned = vpt.tune(backbone, method, num_classes=10, head_init="normal", **dict(options))
    train, val = images_of(backbone, augment)
    config = quick(**{"epochs": 4, "lr": 0.01, "batch_size": 8, "frozen_cache_gb": cache_gb, **settings})
    history = fit(tuned, train, val, config, quiet=True, cache=cache).history
    handle.remove()
    return tuned, history, sum(seen)


def assert_same(left, right):
    (model, history, _), (other, expected, _) = left, right
    for row, known in zip(history, expected, strict=True):
        assert row["train_loss"] == pytest.approx(known["train_loss"], rel=1e-9)
        assert row["val_loss"] == pytest.approx(known["val_loss"], rel=1e-9)
    for name, tensor in model.trained_state().items():
        torch.testing.assert_close(tensor, other.trained_state()[name], rtol=1e-7, atol=1e-10)


CASES = [
    ("linear", {}),
    ("mlp", {}),
    ("deep", {"layers": "last:1", "length": 3}),
    ("deep", {"layers": [1, 2], "length": 3, "dropout": 0.3}),
    ("deep", {"layers": [1], "length": 2, "path": "hooks"}),
    ("deep", {"layers": "last:1", "length": 2, "pool": "all"}),
    ("added", {"layers": "last:2"}),
    ("partial", {"blocks": 1}),
]


@pytest.mark.parametrize(("method", "options"), CASES)
@pytest.mark.parametrize("variant", [VIT, EVA, BEIT, DEIT, "vit_base_patch16_siglip_224", "drop rates"])
def test_one_pass_gives_what_a_pass_per_epoch_gives(variant, method, options):
    if "pool" in options and "siglip" in variant:
        options = {key: value for key, value in options.items() if key != "pool"}
    if (variant, method) == ("drop rates", "partial"):
        options, settings = {**options}, {"epochs": 1}  # its own dropout draws from the random state
    else:
        settings = {}
    fast = run(variant, method, options=options, **settings)
    plain = run(variant, method, options=options, cache_gb=0, **settings)
    assert fast[2] <= IMAGES + 2  # each image once, and one looked at before training, for its size and its logits
    assert plain[2] >= len(plain[1]) * IMAGES
    if settings:
        return
    assert_same(fast, plain)
    assert evaluate(fast[0], images_of(fast[0].backbone)[1]).loss == pytest.approx(fast[1][-1]["val_loss"], rel=1e-9)


@pytest.mark.parametrize(
    ("method", "options"), [("shallow", {}), ("bias", {}), ("full", {}), ("frame", {}), ("pixels", {})]
)
def test_what_learns_from_the_first_block_on_is_computed_every_epoch(method, options):
    assert run(VIT, method, options=options)[2] >= 4 * IMAGES


@pytest.mark.parametrize(
    ("method", "options", "start"),
    [
        ("deep", {"layers": "last:2"}, 1), ("deep", {"layers": [0, 2]}, 0), ("deep", {"layers": "none"}, 3),
        ("partial", {"blocks": 2}, 1), ("bias", {}, 0), ("full", {}, 0), ("linear", {}, 3), ("pixels", {}, 0),
        ("frame", {}, 0), ("added", {"layers": [1]}, 1),
    ],
)  # fmt: skip
def test_where_learning_starts(method, options, start):
    assert first_learned_block(vpt.tune(small(VIT), method, num_classes=4, **options)) == start


def test_later_epochs_run_the_prompted_blocks_alone():
    options = {"layers": "last:1", "length": 2}
    assert run(VIT, "deep", options=options, block=1)[2] <= IMAGES + 2
    assert run(VIT, "deep", options=options, block=2)[2] >= 4 * IMAGES


def test_augmented_images_are_never_taken_for_the_same():
    for method, options in (("linear", {}), ("deep", {"layers": "last:1"})):
        assert run(VIT, method, options=options, augment="light")[2] >= 4 * IMAGES


def test_a_folder_serves_later_runs_of_the_same_backbone_and_images(tmp_path):
    options = {"layers": "last:1", "length": 2}
    first = run(VIT, "deep", options=options, cache=tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob(f"*{SUFFIX}")}
    assert len(files) == 2
    second = run(VIT, "deep", options=options, cache=tmp_path)
    assert second[2] <= 2
    assert_same(first, second)
    assert {path: path.read_bytes() for path in tmp_path.glob("*")} == files
    run(VIT, "deep", options={"layers": "last:1", "length": 5}, cache=tmp_path, lr=0.3)
    assert len(list(tmp_path.glob("*"))) == 2, "another recipe on the same block reads the same files"


@pytest.mark.parametrize("change", ["weights", "normalisation", "block", "precision"])
def test_a_stale_file_is_never_read(change, tmp_path):
    options = {"layers": "last:1", "length": 2}
    run(VIT, "deep", options=options, cache=tmp_path)
    model, settings = small(VIT), {}
    if change == "weights":
        with torch.no_grad():
            model.blocks[0].norm1.bias[3] += 1e-6
    elif change == "normalisation":
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.1, 0.2, 0.3)}
    elif change == "block":
        options = {"layers": "last:2", "length": 2}
    else:
        model, settings = model.float(), {"precision": "bf16"}
    assert run(VIT, "deep", options=options, cache=tmp_path, model=model, **settings)[2] >= IMAGES
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 4


@pytest.mark.parametrize("damage", ["cut short", "emptied", "another file"])
def test_a_damaged_file_is_written_anew(damage, tmp_path):
    options = {"layers": "last:1", "length": 2}
    first = run(VIT, "deep", options=options, cache=tmp_path)
    for path in tmp_path.glob(f"*{SUFFIX}"):
        content = path.read_bytes()
        if damage == "another file":
            np.save(path, np.zeros((3, 2)))
        else:
            path.write_bytes(content[: len(content) // 2 if damage == "cut short" else 0])
    second = run(VIT, "deep", options=options, cache=tmp_path)
    assert second[2] >= IMAGES
    assert_same(first, second)


def test_an_interrupted_pass_leaves_no_file(tmp_path):
    model = small(VIT)
    train, _ = images_of(model)
    original, count = train.pixels, []

    def failing(index):
        count.append(index)
        if len(count) > 15:
            raise KeyboardInterrupt
        return original(index)

    train.pixels = failing
    with pytest.raises(KeyboardInterrupt):
        fit(vpt.tune(model, "linear", num_classes=10), train, None, quick(batch_size=4), quiet=True, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded_and_the_oldest_make_room(tmp_path):
    paths = [tmp_path / f"{name}{SUFFIX}" for name in "abc"]
    for age, path in enumerate(paths):
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 100 * age,) * 2)
    Store(tmp_path, limit=250)._make_room(keep=paths[2])
    assert [path.exists() for path in paths] == [True, False, True]


def inputs_of(store, model, train):
    tuned = vpt.tune(model, "linear", num_classes=10)
    part = needed_part(tuned, train, None)
    try:
        return store.inputs(part, tuned, train, quick(batch_size=8), accelerator_for("fp32"), Logger())
    finally:
        tuned.detach()


def test_rows_stay_readable_where_another_run_makes_room(tmp_path):
    model = small(VIT)
    train, _ = images_of(model)
    found = inputs_of(Store(tmp_path, 1e9), model, train)
    expected = np.load(found.path)
    found.path.unlink()
    assert torch.equal(found[5]["image"], torch.from_numpy(expected[5]))
    assert np.array_equal(found.rows, expected)


def test_a_file_deleted_while_it_is_looked_at_is_computed_anew(tmp_path, monkeypatch):
    model = small(VIT)
    train, _ = images_of(model)
    store = Store(tmp_path, 1e9)
    first = inputs_of(store, model, train)
    expected = first.path.read_bytes()
    real, deleted = os.utime, []

    def gone(path, *times):
        if not deleted:
            deleted.append(path)
            os.unlink(path)
        return real(path, *times)

    monkeypatch.setattr(os, "utime", gone)
    again = inputs_of(store, model, train)
    assert deleted == [again.path]
    assert again.path.read_bytes() == expected


def test_another_run_may_make_room_at_the_same_time(tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}{SUFFIX}" for name in "abc"]
    for path in paths:
        path.write_bytes(bytes(100))
    stat = Path.stat

    def gone(self, **options):
        if self == paths[0]:
            self.unlink(missing_ok=True)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", gone)
    Store(tmp_path, limit=150)._make_room(keep=paths[1])
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [paths[1]]


def test_what_a_killed_run_left_goes_after_a_day(tmp_path):
    old, young, other = (tmp_path / f".writing-{name}" for name in ("old.npy", "young.npy", "old.txt"))
    for path, hours in ((old, 25), (young, 23), (other, 25)):
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    Store(tmp_path, limit=150)._make_room(keep=tmp_path / f"a{SUFFIX}")
    assert sorted(tmp_path.iterdir()) == [other, young]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = small(VIT)
    train, _ = images_of(model)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"inputs\.npy: the disk is full; [\d,]+ are free in"):
        inputs_of(Store(tmp_path, 1e9), model, train)
    assert list(tmp_path.iterdir()) == []


def test_what_would_take_more_than_its_bound_is_computed_every_epoch(tmp_path, capsys):
    model = small(VIT)
    tuned = vpt.tune(model, "deep", layers="last:1", num_classes=10)
    fit(tuned, *images_of(model), quick(frozen_cache_gb=1e-5), cache=tmp_path)
    assert "more than frozen_cache_gb=1e-05" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_finished_or_refused_costs_no_pass(tmp_path):
    def passes(**changes):
        backbone, seen = small(VIT), []
        backbone.patch_embed.register_forward_hook(lambda m, a, out: seen.append(len(out)))
        model = vpt.tune(backbone, "linear", num_classes=10)
        try:
            fit(model, *images_of(backbone), quick(epochs=2, **changes), out=tmp_path, quiet=True)
        finally:
            done.append(sum(seen))

    done = []
    passes()
    passes()
    with pytest.raises(TrainingError, match=r"config\.lr"):
        passes(lr=0.5)
    first, finished, refused = done
    assert first >= IMAGES
    assert finished == refused == 2  # one image for the checks, one for the size


def test_items_keep_their_names_labels_and_precision(tmp_path):
    model = small(VIT).float()
    train, _ = images_of(model)
    tuned = vpt.tune(model, "deep", layers="last:1", num_classes=10)
    assert isinstance(needed_part(tuned, train, None), Tail)
    rows = torch.randn(24, 17, 48)
    np.save(tmp_path / "rows.npy", rows.bfloat16().view(torch.int16).numpy())
    inputs = FrozenInputs(train, tmp_path / "rows.npy")
    assert len(inputs) == 24
    assert inputs.images.describe(3) == train.images.describe(3)
    assert inputs[3]["label"] == train[3]["label"]
    assert torch.equal(inputs[3]["image"], rows[3].bfloat16())


def test_a_model_without_a_head_or_with_augmentation_is_needed_whole():
    model = small(VIT)
    train, _ = images_of(model)
    light, _ = images_of(model, "light")
    tuned = vpt.tune(model, "linear", num_classes=10)
    assert isinstance(needed_part(tuned, train, None), Heads)
    assert needed_part(tuned, light, None) is tuned
    assert needed_part(tuned, train, light) is tuned


@pytest.mark.parametrize("settings", [{"gradient_checkpointing": True}, {"compile": True}])
def test_ways_of_computing_change_nothing_learned(settings, monkeypatch):
    compiled = []
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: (compiled.append(net), real(net, backend="aot_eager"))[1])
    torch.compiler.reset()
    options = {"length": 2, "dropout": 0.2}
    plain, other = run(VIT, "deep", options=options, epochs=2), run(VIT, "deep", options=options, epochs=2, **settings)
    assert_same(plain, other)
    assert bool(compiled) == ("compile" in settings)
    assert other[0].backbone.grad_checkpointing is False


def test_gradient_checkpointing_of_a_model_that_has_none_is_named():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.map = torch.nn.Linear(3 * 64 * 64, 10).double()

        def forward(self, images):
            return self.map(images.flatten(1))

    with pytest.raises(vpt.errors.OptionError, match="not for a Plain"):
        fit(Plain(), *images_of(small(VIT)), quick(gradient_checkpointing=True), quiet=True)
