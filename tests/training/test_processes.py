"""Two processes under torchrun give what one gives."""

import os
from pathlib import Path

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vpt.training import evaluate, fit

from .tiny import TinyData, TinyTuned, metrics, quick

SETTINGS = {"epochs": 3, "batch_size": 6, "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5], "clip_norm": 0.5}


def one_run(out):
    """37 images in batches of 6: the last batch holds one image, so one of two processes has none."""
    torch.set_num_threads(1)
    model = TinyTuned(dropout=0.0).double()
    result = fit(model, TinyData(37), TinyData(13, seed=1), quick(**SETTINGS), out=Path(out), quiet=True)
    if int(os.environ.get("RANK", "0")) == 0:
        done = {"state": model.trained_state(), "history": metrics(result.history)}
        torch.save(done, Path(out) / "done.pt")
    return model


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    model = one_run(one)
    torchrun = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="forkserver", run_id="two",
    )  # fmt: skip
    elastic_launch(torchrun, one_run)(str(two))  # what `torchrun --standalone --nproc-per-node 2` does
    return model, *(torch.load(out / "done.pt", weights_only=True) for out in (one, two)), two


def test_tensors_and_metrics_agree(runs):
    _, one, two, _ = runs
    for name, tensor in one["state"].items():
        torch.testing.assert_close(two["state"][name], tensor, rtol=0, atol=1e-10)
    for mine, other in zip(one["history"], two["history"], strict=True):
        assert other == pytest.approx(mine, abs=1e-10)


def test_a_run_of_two_processes_goes_on_in_one(runs):
    model, _, _, folder = runs
    later = TinyTuned(dropout=0.0).double()
    result = fit(later, TinyData(37), TinyData(13, seed=1), quick(**SETTINGS), out=folder, quiet=True)
    assert result.epochs == 3
    for name, tensor in model.trained_state().items():
        torch.testing.assert_close(later.trained_state()[name], tensor, rtol=0, atol=1e-10)


def test_only_one_process_writes(runs):
    from vpt.training.log import read_rows

    events = [row["event"] for row in read_rows(runs[3] / "metrics.jsonl")]
    assert events.count("start") == 1
    assert events.count("epoch") == 3
    assert evaluate(runs[0], TinyData(13, seed=1)).accuracy == pytest.approx(runs[1]["history"][-1]["val_accuracy"])
