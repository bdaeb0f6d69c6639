"""Two processes under torchrun give what one gives."""

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import vpt
from vpt.training import fit
from vpt.training.log import read_rows

from .tiny import TinyData, TinyTuned, metrics, quick, small_vit

SETTINGS = {"epochs": 3, "batch_size": 9, "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5], "clip_norm": 0.5}


class WithSpare(TinyTuned):
    """Has a trained tensor that no image reaches."""

    def __init__(self):
        super().__init__(size=16, dropout=0.0)
        self.spare = torch.nn.Parameter(torch.ones(2))


def clip(method):
    """A method whose training has a guide or a penalty: means over the images of a process."""
    from support.tuned_clips import tuned_clip

    return tuned_clip(method, names=["cat", "sea lion", "x"], templates="a {}.", words="an x of no")


BUILD = {
    "unused tensor": lambda: WithSpare().double(),
    "stand-in": lambda: TinyTuned(size=16, dropout=0.0).double(),
    "deep": lambda: vpt.tune(small_vit().double(), "deep", length=2, num_classes=3),
}
if find_spec("open_clip"):
    BUILD |= {name: partial(clip, name) for name in ("prograd", "promptsrc")}


def one_run(folder, name):
    """37 images in batches of 9: of two processes one has 5, the other 4, and in the last batch one has 1, one none."""
    model, train, val = BUILD[name](), TinyData(37, size=16), TinyData(13, size=16, seed=1)
    result = fit(model, train, val, quick(**SETTINGS), out=Path(folder) / name, quiet=True)
    done = {"state": {n: t.clone() for n, t in model.trained_state().items()}, "history": metrics(result.history)}
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(done, Path(folder) / f"{name}.pt")
    return done


def both_runs(folder):
    torch.set_num_threads(1)
    for name in BUILD:
        one_run(folder, name)


@pytest.fixture(scope="module")
def folder(server, tmp_path_factory):
    """Where two processes, started as `torchrun --standalone --nproc-per-node 2` starts them, left their runs."""
    folder = tmp_path_factory.mktemp("two")
    torchrun = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="forkserver", run_id="two",
    )  # fmt: skip
    elastic_launch(torchrun, both_runs)(str(folder))
    return folder


def assert_same(a, b):
    assert a["state"].keys() == b["state"].keys()
    for name, tensor in a["state"].items():
        torch.testing.assert_close(b["state"][name], tensor, rtol=0, atol=1e-10)
    for mine, other in zip(a["history"], b["history"], strict=True):
        assert other == pytest.approx(mine, abs=1e-10)


@pytest.mark.parametrize("name", BUILD)
def test_tensors_and_metrics_agree_with_one_process(name, folder, tmp_path):
    two = torch.load(folder / f"{name}.pt", weights_only=True)
    assert_same(one_run(tmp_path, name), two)
    assert_same(one_run(folder, name), two)  # goes on, in one process, where two left off: at the end


def test_only_one_process_writes(folder):
    events = [row["event"] for row in read_rows(folder / "deep" / "metrics.jsonl")]
    assert events.count("start") == 1
    assert events.count("epoch") == 3
