import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vpt.data import ImageDataset, Preprocessing
from vpt.data.imageset import ImageSet
from vpt.errors import DataError, NonFiniteLoss, OptionError, TrainingError
from vpt.training import fit
from vpt.training.checkpoint import Checkpoints
from vpt.training.learner import class_weights
from vpt.training.log import Group, read_rows
from vpt.training.preflight import Facts
from vpt.training.trained import trained_state

from .tiny import DrawnData, TinyData, TinyTuned, metrics, quick, raw_model


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def copied(model):
    return {name: tensor.clone() for name, tensor in trained_state(model).items()}


@pytest.mark.parametrize("build", [TinyTuned, raw_model])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns_and_a_second_run_is_the_same_bit_for_bit(build, optimizer):
    runs = []
    for _ in range(2):
        model = build()
        torch.manual_seed(len(runs))  # the outside must not matter
        result = fit(model, TinyData(), TinyData(15, seed=1), quick(epochs=8, optimizer=optimizer), quiet=True)
        runs.append((copied(model), metrics(result.history)))
    (state, history), (other, again) = runs
    assert same(state, other)
    assert history == again
    assert len(history) == result.epochs == 8
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_accuracy"] > 0.6
    assert result.seconds > 0
    assert result.peak_memory > 2**20


def test_frozen_tensors_stay_and_frozen_modules_are_in_eval():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))
    model[0].requires_grad_(False), model[1].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("4")}
    seen = []
    model[1].register_forward_hook(lambda module, args, out: seen.append(module.training))
    fit(model, TinyData(), config=quick(epochs=1), quiet=True)
    assert not any(seen)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_one_step_is_the_written_out_update():
    model, reference = TinyTuned(dropout=0.0).double(), TinyTuned(dropout=0.0).double()
    data = TinyData(8)
    weights = [1.0, 2.0, 0.5]
    config = quick(
        epochs=1, batch_size=8, optimizer="sgd", momentum=0.0, lr=0.1, warmup_epochs=0, weight_decay=0.01,
        label_smoothing=0.1, class_weights=weights, clip_norm=0.05,
    )  # fmt: skip
    result = fit(model, data, config=config, quiet=True)
    images = torch.stack([data[i]["image"] for i in range(8)]).double()
    loss = F.cross_entropy(
        reference(images), data.labels, torch.tensor(weights, dtype=torch.float64), label_smoothing=0.1
    )
    loss.backward()
    learned = list(reference.trainable().values())
    norm = nn.utils.clip_grad_norm_(learned, 0.05)
    assert norm > 0.05
    with torch.no_grad():
        for name, parameter in reference.trainable().items():
            decay = 0.01 if name == "backbone.head.weight" else 0.0
            parameter -= 0.1 * (parameter.grad + decay * parameter)
    assert result.history[0]["train_loss"] == pytest.approx(loss.item(), abs=1e-12)
    for name, parameter in reference.trainable().items():
        torch.testing.assert_close(model.trainable()[name].detach(), parameter.detach(), rtol=0, atol=1e-12)


def test_balanced_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 1, 2, 2])
    mine = class_weights("balanced", Facts(labels, 3, ("a", "b", "c")))
    np.testing.assert_allclose(mine.numpy(), compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert class_weights("none", Facts(labels, 3, ())) is None


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("build", [TinyTuned, raw_model])
def test_a_run_cut_short_goes_on_to_the_same_end(tmp_path, build, stop):
    train, val = TinyData(), TinyData(9, seed=1)
    whole = build()
    history = fit(whole, train, val, quick(), quiet=True).history

    class Cut(TinyData):
        def set_epoch(self, epoch):
            super().set_epoch(epoch)
            if epoch == stop:
                raise KeyboardInterrupt

    config = quick(checkpoint_every=4)  # an interrupt writes the last finished epoch all the same
    with pytest.raises(KeyboardInterrupt):
        fit(build(), Cut(), val, config, out=tmp_path, quiet=True)
    assert len(Checkpoints(tmp_path).load()["history"]) == stop
    later = build()
    result = fit(later, train, val, config, out=tmp_path, quiet=True)
    assert same(copied(later), copied(whole))
    assert metrics(result.history) == metrics(history)
    rows = [row for row in read_rows(tmp_path / "metrics.jsonl") if row["event"] == "epoch"]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["event"] for row in read_rows(tmp_path / "metrics.jsonl")].count("start") == 2


def test_a_finished_run_is_not_repeated_unless_asked(tmp_path):
    first = TinyTuned()
    history = fit(first, TinyData(), config=quick(), out=tmp_path, quiet=True).history
    train = TinyData()
    second = TinyTuned()
    assert fit(second, train, config=quick(), out=tmp_path, quiet=True).history == history
    assert same(copied(first), copied(second))
    assert len(train.reads) <= 3  # only looked at
    fit(TinyTuned(), train, config=quick(lr=0.5), out=tmp_path, resume=False, quiet=True)
    assert len(train.reads) >= 4 * 40
    assert len([row for row in read_rows(tmp_path / "metrics.jsonl") if row["event"] == "epoch"]) == 4


def test_another_config_model_or_data_does_not_resume(tmp_path):
    fit(TinyTuned(), TinyData(), config=quick(), out=tmp_path, quiet=True)
    with pytest.raises(TrainingError, match=r"config\.lr: 0\.02 in the checkpoint, 0\.5 now"):
        fit(TinyTuned(), TinyData(), config=quick(lr=0.5), out=tmp_path, quiet=True)
    with pytest.raises(TrainingError, match=r"model\.frozen"):
        fit(TinyTuned(seed=1), TinyData(), config=quick(), out=tmp_path, quiet=True)
    with pytest.raises(TrainingError, match=r"model\.options\.dropout"):
        fit(TinyTuned(dropout=0.3), TinyData(), config=quick(), out=tmp_path, quiet=True)
    with pytest.raises(TrainingError, match=r"data\.train\.images: 40 in the checkpoint, 41 now"):
        fit(TinyTuned(), TinyData(41), config=quick(), out=tmp_path, quiet=True)
    other = TinyTuned()
    torch.nn.init.ones_(other.prompts["tokens"])
    with pytest.raises(TrainingError, match=r"that run began.*\n  model\.start: \S+ in the checkpoint, \S+ now$"):
        fit(other, TinyData(), config=quick(), out=tmp_path, quiet=True)
    fit(TinyTuned(), TinyData(), config=quick(workers=1, log_every=2), out=tmp_path, quiet=True)


def test_the_same_labels_on_other_pixels_do_not_resume(tmp_path):
    def run(images):
        pixels = Preprocessing(size=(4, 4))
        fit(raw_model(2), ImageDataset(images, pixels), config=quick(epochs=1), out=tmp_path, quiet=True)

    pictures, labels = np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2
    run(ImageSet.from_arrays(pictures, labels))
    run(ImageSet.from_arrays(pictures.copy(), labels))
    with pytest.raises(TrainingError, match=r"began, .*\n  data\.train\.content: \S+ in the checkpoint, \S+ now$"):
        run(ImageSet.from_arrays(pictures + 1, labels))


def test_workers_draw_other_numbers_in_each_epoch_and_the_same_in_a_second_run():
    def drawn(workers, **changes):
        model, seen = raw_model(), []
        model.register_forward_pre_hook(lambda _, args: seen.extend(args[0][:, 0, 0, 0].tolist()))
        fit(model, DrawnData(8), config=quick(epochs=2, workers=workers, **changes), quiet=True)
        return seen[1:]  # the first was looked at before training, drawn from the caller's generators

    first = drawn(1)
    assert len(set(first)) == 2 * 8
    assert drawn(1) == first
    assert not set(drawn(1, seed=1)) & set(first)


def test_the_logs_are_closed_even_if_the_last_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    def full(self, payload):
        if payload["history"]:
            raise OSError("the disk is full")

    closed = []
    monkeypatch.setattr(Checkpoints, "save", full)
    monkeypatch.setattr(Group, "close", lambda self: closed.append(True))
    with pytest.raises(OSError, match="disk is full"):
        fit(TinyTuned(), TinyData(), config=quick(), out=tmp_path, quiet=True)
    assert closed


def test_the_frozen_backbone_is_not_in_the_checkpoint(tmp_path):
    model = TinyTuned()
    model.backbone["ballast"] = nn.Linear(500, 500).requires_grad_(False)
    fit(model, TinyData(), config=quick(epochs=1), out=tmp_path, quiet=True)
    assert (tmp_path / "checkpoint.pt").stat().st_size < 50_000


def test_non_finite_loss_names_step_rate_and_images():
    class Late(TinyData):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return {**item, "image": item["image"] * math.nan} if self.epoch == 1 and index == 7 else item

    model = TinyTuned()
    with pytest.raises(NonFiniteLoss) as caught:
        fit(model, Late(), config=quick(schedule="epoch", warmup_epochs=2), quiet=True)
    message = str(caught.value)
    assert "tiny[7] (these images themselves" in message
    assert "learning rate 0.01" in message
    assert "step" in message
    assert all(torch.isfinite(tensor).all() for tensor in model.trained_state().values())


def test_a_gradient_that_is_not_finite_stops_before_it_does_harm():
    class Root(TinyTuned):
        def forward(self, images):
            return super().forward(images) + (self.prompts["tokens"] * 0).sum().sqrt()  # finite; its slope is not

    model = Root()
    with pytest.raises(NonFiniteLoss, match=r"gradient is not finite at step 1, .*tiny\["):
        fit(model, TinyData(), config=quick(), quiet=True)
    assert all(torch.isfinite(tensor).all() for tensor in model.trained_state().values())


@pytest.mark.parametrize("named", [True, False])
def test_wrong_data_is_found_before_training(named):
    def run(train, val=None, **changes):
        fit(TinyTuned(), train, val, quick(**changes), quiet=True)

    empty, poisoned, mislabelled = TinyData(0, named=named), TinyData(named=named), TinyData(classes=4, named=named)
    poisoned.pixels[0 if named else 33] = math.nan
    with pytest.raises(DataError, match="training data is empty"):
        run(empty)
    with pytest.raises(DataError, match="validation data is empty"):
        run(TinyData(named=named), empty)
    with pytest.raises(DataError, match=r"tiny\[0\].*NaN" if named else "image 33.*NaN"):
        run(poisoned)
    with pytest.raises(DataError, match=r"outside 0 ... 2, first .*3"):
        run(mislabelled)
    with pytest.raises(OptionError, match="2 numbers given; accepted: one per class, 3"):
        run(TinyData(named=named), class_weights=[1.0, 2.0])


def test_classes_must_agree():
    other = TinyData()
    other.images.classes = ("a", "b", "z")
    with pytest.raises(DataError, match="not in both: c, z"):
        fit(TinyTuned(), TinyData(), other, quick(), quiet=True)
    with pytest.raises(OptionError, match="model answers 5 classes, the training data has 3"):
        fit(TinyTuned(classes=5), TinyData(), config=quick(), quiet=True)
    with pytest.raises(OptionError, match="model answers 3 classes, the validation data has 2"):
        fit(TinyTuned(), TinyData(named=False), TinyData(classes=2), quick(), quiet=True)


def test_models_that_cannot_be_trained_are_refused():
    with pytest.raises(TrainingError, match="nothing to train"):
        fit(TinyTuned().requires_grad_(False), TinyData(), config=quick(), quiet=True)
    with pytest.raises(TrainingError, match="float32 or float64"):
        fit(TinyTuned().half(), TinyData(), config=quick(), quiet=True)
    with pytest.raises(TrainingError, match=r"logits \[B, C\]"):
        fit(nn.Conv2d(3, 3, 1), TinyData(), config=quick(), quiet=True)


def test_trained_tensors_that_do_not_reach_the_logits_are_an_error():
    model = TinyTuned()
    model.forward = lambda images: torch.zeros(len(images), 3)
    with pytest.raises(TrainingError, match=r"depend on none of the trained tensors: .*prompts\.tokens"):
        fit(model, TinyData(), config=quick(), quiet=True)


def test_wrong_settings_stop_before_anything():
    with pytest.raises(OptionError, match=r"(?s)epochs.*optimizer"):
        fit(TinyTuned(), TinyData(), config=quick(epochs=0, optimizer="x"), quiet=True)


def test_bf16_keeps_learned_tensors_in_float32_and_precisions_may_follow_each_other():
    for precision in ("bf16", "fp32"):
        model = TinyTuned()
        result = fit(model, TinyData(), TinyData(9), quick(epochs=2, precision=precision), quiet=True)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert math.isfinite(result.history[-1]["train_loss"])
    assert "forward" not in vars(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16")
def test_fp16_without_a_gpu_is_a_clear_error():
    with pytest.raises(OptionError, match="precision: 'fp16' given; accepted on a cpu: fp32, bf16"):
        fit(TinyTuned(), TinyData(), config=quick(precision="fp16"), quiet=True)


def test_metrics_file_tells_settings_steps_and_epochs(tmp_path):
    result = fit(TinyTuned(), TinyData(), TinyData(9), quick(log_every=2), out=tmp_path, quiet=True)
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert rows[0]["event"] == "start"
    assert rows[0]["config"]["lr"] == 0.02
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(2, 21, 2))
    epochs = [{k: v for k, v in row.items() if k != "event"} for row in rows if row["event"] == "epoch"]
    assert epochs == json.loads(json.dumps(result.history))
