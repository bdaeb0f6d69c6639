import inspect
import io
import math
from importlib import metadata

import pytest
import torch
from rich.console import Console

import vpt
from vpt.training import Logger, fit
from vpt.training.log import Group, JsonLines, Run, read_rows
from vpt.training.progress import PlainLines, RichBar, progress_logger
from vpt.training.tensorboard import TensorBoard, displayable, pick

from .tiny import TinyData, TinyTuned, quick, small_vit

BUILD = {
    Logger: lambda folder: Logger(),
    Group: lambda folder: Group([Logger(), JsonLines(folder / "inner.jsonl")]),
    JsonLines: lambda folder: JsonLines(folder / "metrics.jsonl"),
    PlainLines: lambda folder: PlainLines(),
    RichBar: lambda folder: RichBar(Console(file=io.StringIO(), force_terminal=True)),
    TensorBoard: lambda folder: TensorBoard(folder / "tensorboard"),
}
STEP = {"epoch": 1, "step": 1, "loss": 1.0, "lr": 0.1, "grad_norm": 2.0}
EPOCH = {"epoch": 1, "step": 5, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0,
         "val_accuracy": 0.5, "seconds": 0.1}  # fmt: skip


def subclasses(base):
    return {base}.union(*(subclasses(child) for child in base.__subclasses__()))


def test_every_logger_is_under_contract():
    assert {logger for logger in subclasses(Logger) if logger.__module__.startswith("vpt.")} == BUILD.keys()


@pytest.mark.parametrize("kind", BUILD, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("resumed", [False, True])
def test_contract(kind, resumed, tmp_path):
    """Same methods, any order a run can take, closing twice; model, modes and random generator as before."""
    methods = [name for name, _ in inspect.getmembers(Logger, inspect.isfunction)]
    for name in methods:
        assert inspect.signature(getattr(kind, name)) == inspect.signature(getattr(Logger, name))
    model = TinyTuned()
    model.train()
    model.drop.eval()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    modes, random = [module.training for module in model.modules()], torch.get_rng_state()
    run = Run(model, TinyData(5), TinyData(4), quick(), ("a", "b", "c"), int(resumed), 5, resumed)

    BUILD[kind](tmp_path / "never started").close()
    logger = BUILD[kind](tmp_path)
    logger.note("before the start")
    logger.start(run)
    logger.step(STEP)
    logger.epoch(EPOCH)
    logger.note("in the [middle]")
    logger.finish()
    logger.close()
    logger.close()
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)


def test_plain_lines_off_a_terminal(capsys):
    assert isinstance(progress_logger(), PlainLines)
    fit(TinyTuned(), TinyData(), TinyData(9), quick(epochs=2))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "val accuracy" in lines[0]
    fit(TinyTuned(), TinyData(), TinyData(9), quick(epochs=2), quiet=True)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal():
    screen = io.StringIO()
    bar = RichBar(Console(file=screen, force_terminal=True, width=120, no_color=True, highlight=False))
    bar.start(Run(TinyTuned(), TinyData(), None, quick(epochs=2), (), 1, 5, True))
    bar.step({**STEP, "epoch": 2, "step": 10})
    bar.close()
    assert "epoch 2/2" in screen.getvalue()
    assert "10/10" in screen.getvalue()
    assert "going on after epoch 1 of 2" in screen.getvalue()


def test_a_cut_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "epoch", "epoch": 1}\n{"event": "epo')
    assert read_rows(path) == [{"event": "epoch", "epoch": 1}]


def test_a_line_is_plain_json_whatever_is_in_it(tmp_path):
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.note("caf\u00e9\u2028new line")
    log.step({**STEP, "grad_norm": math.inf})  # as under a loss scaler
    note, step = read_rows(log.path)
    assert note["text"] == "caf\u00e9\u2028new line"
    assert step["grad_norm"] is None
    log.path.write_bytes(log.path.read_bytes()[:30])  # a cut anywhere leaves text that can be read
    assert read_rows(log.path) == []


def test_versions_of_what_made_the_run_are_told(tmp_path):
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.start(Run(TinyTuned(), TinyData(), None, quick(), (), 0, 5, False))
    versions = read_rows(log.path)[0]["versions"]
    assert versions["torch"] == metadata.version("torch")
    assert {"timm", "accelerate"} <= versions.keys()


def test_attention_pictures_are_drawn_without_dropout(tmp_path):
    model = vpt.tune(small_vit(), "deep", length=2, dropout=0.5, num_classes=3)
    model.train()
    logger, before = TensorBoard(tmp_path), torch.get_rng_state()
    logger.start(Run(model, TinyData(5, size=16), None, quick(), ("a", "b", "c"), 0, 5, False))
    logger.close()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.prompts.training


def test_pictures_undo_the_normalisation():
    data = TinyData(6)

    class Preprocessing:
        mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    images, labels = pick(data, 4)
    assert images.shape == (4, 3, 4, 4)
    assert labels == [0, 2, 0, 2]
    data.preprocessing = Preprocessing()
    torch.testing.assert_close(displayable(images, data), (images * 0.25 + 0.5).clamp(0, 1))
    del data.preprocessing
    assert displayable(images, data).amin() == 0


def tags(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


@pytest.mark.slow
def test_tensorboard_holds_all_that_is_promised(tmp_path):
    model = vpt.tune(small_vit(), "deep", length=2, num_classes=3)
    config = quick(epochs=2, tensorboard=True)
    fit(model, TinyData(size=16), TinyData(9, size=16), config, out=tmp_path, quiet=True)
    events = tags(tmp_path / "tensorboard")
    scalars = set(events.Tags()["scalars"])
    assert {"step/loss", "step/lr", "epoch/lr", "epoch/val_accuracy", "prompt_norm/tokens/layer01"} <= scalars
    images = set(events.Tags()["images"])
    assert images >= {"samples/train", "attention/class_token"}
    assert [event.step for event in events.Scalars("epoch/train_loss")] == [5, 10]
    assert list((tmp_path / "tensorboard").rglob("tensors.tsv"))
    assert list((tmp_path / "tensorboard").rglob("sprite.png"))
