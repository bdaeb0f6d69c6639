"""A frozen image tower sees each image once, and training gives the same as if it saw them every epoch."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
from support.small_tokenizer import SmallTokenizer
from support.text_towers import small_clip
from support.tuned_clips import DIGITS, tuned_clip

import vpt
from vpt.data import ImageDataset, Preprocessing, load_task
from vpt.errors import TrainingError
from vpt.methods import TunedClip
from vpt.training import evaluate, fit
from vpt.training.frozen_inputs import SUFFIX
from vpt.training.learner import Learner
from vpt.training.log import read_rows
from vpt.training.needed import Comparison, needed_part

from .tiny import metrics, quick

IMAGES = 16 + 8
LOOKED_AT = 3  # one image for the checks, one to see whether its features learn, one for their size
METHODS: dict[str, dict[str, Any]] = {"coop": {"context_length": 3}, "cocoop": {}, "kgcoop": {}, "taskres": {}}


def data(augment: str = "none") -> tuple[ImageDataset, ImageDataset]:
    task = load_task("embedded", None, "digits", train=16, val=8, test=5)
    pixels = Preprocessing.of(small_clip())
    return ImageDataset(task.train, pixels, augment=augment), ImageDataset(task.val, pixels)


def watched(clip: Any) -> list[int]:
    """Grows by the number of images in every pass of the image tower."""
    seen: list[int] = []
    clip.visual.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    return seen


def start(method: str, clip: Any = None, **options: Any) -> TunedClip:
    return tuned_clip(method, clip, DIGITS, **{**METHODS.get(method, {}), **options})


def run(method: str, *, clip: Any = None, augment: str = "none", out: Any = None, cache: Any = None, **settings: Any):
    """A trained model, its history, and how many images its image tower saw."""
    tuned = start(method, clip)
    seen = watched(tuned.backbone)
    config = quick(**{"epochs": 3, "lr": 0.01, "checkpoint_every": 1, **settings})
    history = fit(tuned, *data(augment), config, out=out, quiet=True, cache=cache).history
    return tuned, metrics(history), sum(seen)


def assert_same_bits(left: TunedClip, right: TunedClip) -> None:
    assert all(torch.equal(tensor, right.trained_state()[name]) for name, tensor in left.trained_state().items())


@pytest.mark.parametrize("method", METHODS)
def test_once_per_image_gives_what_once_per_epoch_gives(method: str) -> None:
    fast, plain = run(method), run(method, frozen_cache_gb=0)
    assert fast[2] <= IMAGES + LOOKED_AT
    assert plain[2] >= 3 * IMAGES
    for row, known in zip(fast[1], plain[1], strict=True):
        assert row == pytest.approx(known, rel=1e-10)
    before = start(method).trained_state()
    for name, tensor in fast[0].trained_state().items():
        torch.testing.assert_close(tensor, plain[0].trained_state()[name], rtol=1e-10, atol=1e-10)
        assert not torch.equal(tensor, before[name])
    assert evaluate(fast[0], data()[1]).loss == pytest.approx(fast[1][-1]["val_loss"], rel=1e-10)


def test_augmented_images_are_seen_every_epoch() -> None:
    assert run("coop", augment="light")[2] >= 3 * IMAGES


def test_compiling_and_tensorboard_change_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: real(net, backend="eager"))
    torch.compiler.reset()
    plain, other = run("kgcoop", epochs=2), run("kgcoop", epochs=2, compile=True, tensorboard=True, out=tmp_path)
    drawn = 8  # held-out images, whose features TensorBoard is given at the end
    assert other[2] <= IMAGES + LOOKED_AT + drawn
    assert other[1][-1] == pytest.approx(plain[1][-1], rel=1e-9)


def test_one_folder_serves_methods_seeds_and_evaluation(tmp_path: Any) -> None:
    clip = small_clip(context_length=40)
    tuned = run("coop", clip=clip, cache=tmp_path)[0]
    files = {path: path.read_bytes() for path in tmp_path.glob(f"*{SUFFIX}")}
    assert len(files) == 2
    tuned.detach()
    later, _, seen = run("taskres", clip=clip, cache=tmp_path)
    assert seen <= LOOKED_AT
    watching, val = watched(clip), data()[1]
    cached = evaluate(later, val, cache=tmp_path)
    assert sum(watching) <= LOOKED_AT
    plain = evaluate(later, val)
    assert cached.loss == pytest.approx(plain.loss, rel=1e-10)
    assert (cached.predictions == plain.predictions).all()
    later.detach()
    watching.clear()
    assert evaluate(start("zero_shot", clip), val, cache=tmp_path).labels.tolist() == plain.labels.tolist()
    assert sum(watching) <= LOOKED_AT
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize("change", ["visual.proj", "visual.conv1.weight", "ln_final.bias", "logit_scale"])
def test_another_clip_reads_its_own_files(change: str, tmp_path: Any) -> None:
    run("taskres", cache=tmp_path, epochs=1)
    clip = small_clip(context_length=40)
    with torch.no_grad():
        clip.get_parameter(change).add_(1e-6)
    assert run("taskres", clip=clip, cache=tmp_path, epochs=1)[2] >= IMAGES
    assert len(list(tmp_path.iterdir())) == 4


def test_features_of_half_precision_towers_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, real = [], TunedClip.compare
    monkeypatch.setattr(TunedClip, "compare", lambda self, seen: (compared.append(seen.detach()), real(self, seen))[1])
    tuned, _, seen = run("coop", clip=small_clip(context_length=40).bfloat16(), epochs=2)
    assert seen <= IMAGES + LOOKED_AT
    assert {features.dtype for features in compared} == {torch.float32}
    trained = torch.cat(compared[1:])
    assert not torch.equal(trained, trained.bfloat16().float()), "nothing was rounded on the way"
    assert next(tuned.backbone.parameters()).dtype == torch.bfloat16


def test_an_image_tower_that_learns_is_needed_whole() -> None:
    tuned, (train, val) = start("coop"), data()
    assert isinstance(needed_part(tuned, train, val), Comparison)
    assert needed_part(tuned, data("light")[0], val) is tuned
    tuned.backbone.visual.proj.requires_grad_(True)
    assert needed_part(tuned, train, val) is tuned


def killed_run(folder: str, threads: int, steps: int) -> None:
    """The run of `test_a_killed_run_goes_on_bit_for_bit`, killed in the middle of an epoch. Runs in a child."""
    torch.set_num_threads(threads)
    step, taken = Learner.step, []

    def fatal(self: Learner, *args: Any) -> Any:
        taken.append(1)
        if len(taken) > steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *args)

    Learner.step = fatal  # type: ignore[method-assign]
    run("kgcoop", out=f"{folder}/run", cache=f"{folder}/cache")


def test_a_killed_run_goes_on_bit_for_bit(server: Any, tmp_path: Any) -> None:
    child = server.Process(target=killed_run, args=(str(tmp_path), torch.get_num_threads(), 3))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    whole, history, _ = run("kgcoop")
    resumed, rows, seen = run("kgcoop", out=tmp_path / "run", cache=tmp_path / "cache")
    starts = [row["epochs_done"] for row in read_rows(tmp_path / "run" / "metrics.jsonl") if row["event"] == "start"]
    assert starts == [0, 1]
    assert seen <= LOOKED_AT, "the killed run's files serve"
    assert rows == history
    assert_same_bits(resumed, whole)


def test_a_run_of_other_tokens_is_not_resumed(tmp_path: Any) -> None:
    run("coop", out=tmp_path)
    other = start("coop", tokenizer=SmallTokenizer(start=False))
    with pytest.raises(TrainingError, match=r"model\.tokens: "):
        vpt.fit(other, *data(), quick(epochs=3, lr=0.01, checkpoint_every=1), out=tmp_path, quiet=True)


@pytest.mark.parametrize("text", [True, False])
def test_checkpointing_changes_nothing_learned_and_is_given_back(text: bool) -> None:
    """Both towers are told to recompute; afterwards each is as before, here one of the two does."""
    clip = small_clip(context_length=40)
    clip.transformer.grad_checkpointing, clip.visual.transformer.grad_checkpointing = text, not text
    options: dict[str, Any] = {"words": "an x", "depth": 2, "path": "plain"}
    plain, other = tuned_clip("maple", names=DIGITS, **options), tuned_clip("maple", clip, DIGITS, **options)
    fit(plain, *data(), quick(epochs=1, lr=0.01), quiet=True)
    inside: list[bool] = []
    clip.visual.register_forward_hook(lambda *_: inside.append(clip.visual.transformer.grad_checkpointing))
    fit(other, *data(), quick(epochs=1, lr=0.01, gradient_checkpointing=True), quiet=True)
    assert inside[-1], "both recompute in training"
    assert (clip.transformer.grad_checkpointing, clip.visual.transformer.grad_checkpointing) == (text, not text)
    for name, tensor in other.trained_state().items():
        torch.testing.assert_close(tensor, plain.trained_state()[name], rtol=1e-10, atol=1e-10)
