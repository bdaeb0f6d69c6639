"""The loop with the real thing: stock backbones, tuned by `vpt.tune`."""

import ast
from pathlib import Path

import pytest
import torch

import vpt
import vpt.training
from vpt.errors import TrainingError
from vpt.training import FitConfig, evaluate, features, fit
from vpt.training.checkpoint import Checkpoints
from vpt.training.features import prompt_norms
from vpt.training.optim import kind

from .tiny import TinyData, metrics, quick, small_vit

METHODS = {
    "linear": {}, "full": {}, "bias": {}, "partial": {"blocks": 1}, "mlp": {}, "shallow": {"length": 3, "dropout": 0.1},
    "deep": {"length": 2, "dropout": 0.1, "dropout_mode": "sample"},
}  # fmt: skip


def tuned(method):
    return vpt.tune(small_vit(), method, num_classes=3, **METHODS[method])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_its_own_tensors_and_resumes_bit_for_bit(method, tmp_path):
    class Cut(TinyData):
        def set_epoch(self, epoch):
            super().set_epoch(epoch)
            if epoch == 2:
                raise KeyboardInterrupt

    val, config = TinyData(9, size=16, seed=1), quick(epochs=3, lr=0.01)
    whole = tuned(method)
    frozen = {name: tensor.clone() for name, tensor in whole.frozen_state().items()}
    start = {name: tensor.clone() for name, tensor in whole.trained_state().items()}
    history = fit(whole, TinyData(size=16), val, config, quiet=True).history
    assert all(torch.equal(whole.frozen_state()[name], tensor) for name, tensor in frozen.items())
    assert any(not torch.equal(whole.trained_state()[name], tensor) for name, tensor in start.items())
    assert history[-1]["train_loss"] < history[0]["train_loss"]

    with pytest.raises(KeyboardInterrupt):
        fit(tuned(method), Cut(size=16), val, config, out=tmp_path, quiet=True)
    assert Checkpoints(tmp_path).load()["model"].keys() == whole.trained_state().keys()
    later = tuned(method)
    assert metrics(fit(later, TinyData(size=16), val, config, out=tmp_path, quiet=True).history) == metrics(history)
    assert all(torch.equal(later.trained_state()[name], tensor) for name, tensor in whole.trained_state().items())
    assert evaluate(later, val).accuracy == history[-1]["val_accuracy"]


def test_features_are_what_the_head_reads():
    model, images = tuned("deep").eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone.head(features(model, images)), model(images))
    headless = small_vit(num_classes=0).eval()
    with torch.no_grad():
        torch.testing.assert_close(features(headless, images), headless(images))


def test_prompts_are_known_as_such():
    model = tuned("deep")
    assert prompt_norms(model).keys() == {"tokens/layer00", "tokens/layer01"}
    assert kind("prompts.tokens", model) == "prompts"
    assert prompt_norms(tuned("linear")) == {}


def test_bf16_trains_float32_prompts():
    model = tuned("deep")
    fit(model, TinyData(size=16), config=FitConfig(epochs=1, precision="bf16"), quiet=True)
    assert {parameter.dtype for parameter in model.trainable().values()} == {torch.float32}


def test_real_images_augmented_give_the_same_run_for_any_number_of_workers(tmp_path):
    from vpt.data import ImageDataset, Preprocessing, load_task

    task = load_task("embedded", None, "digits", train=40, val=20, test=20)
    preprocessing = Preprocessing(size=(16, 16))
    train = ImageDataset(task.train, preprocessing, augment="light", seed=1)
    val = ImageDataset(task.val, preprocessing)
    runs = []
    for count in (0, 2):
        model = vpt.tune(small_vit(), "deep", length=2, num_classes=10)
        config = quick(epochs=2, workers=count)
        result = fit(model, train, val, config, out=tmp_path / str(len(runs)), quiet=True)
        runs.append((metrics(result.history), model.trained_state()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], tensor) for name, tensor in runs[1][1].items())
    with pytest.raises(TrainingError, match=r"data.train.augment.preset: 'light' in the checkpoint, 'none' now"):
        fit(model, ImageDataset(task.train, preprocessing, seed=1), val, config, out=tmp_path / "0", quiet=True)


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = {"accelerate", "matplotlib", "sklearn", "tensorboard", "rich", "albumentations"}
    for file in Path(vpt.training.__file__).parent.glob("*.py"):
        for node in ast.parse(file.read_text()).body:  # the module's own level, not functions and TYPE_CHECKING
            names = [alias.name for alias in getattr(node, "names", ())] + [getattr(node, "module", None) or ""]
            assert not heavy & {name.partition(".")[0] for name in names}, file
            assert "torch.utils.tensorboard" not in names, file
