"""`PromptClassifier` learns, answers, and leaves all else as it was."""

from __future__ import annotations

import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from estimator.small import LABELS, classifier, pictures, tiny
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

import vpt
from vpt.errors import BackboneMismatch, OptionError
from vpt.estimator import PromptClassifier
from vpt.estimator import backbone as taking_turns
from vpt.estimator import classifier as classifier_module
from vpt.runs.restore import restore
from vpt.training import predict


def state(backbone: nn.Module) -> dict[str, bytes]:
    """The bytes of all tensors."""
    return {name: tensor.numpy().tobytes() for name, tensor in backbone.state_dict().items()}


def embedded(method: str = "linear", **changes: Any) -> PromptClassifier:
    """One epoch on the embedded backbone."""
    return PromptClassifier("embedded", method, **{"epochs": 1, "lr": 0.05, "batch_size": 8, **changes})


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    table, labels = load_digits(return_X_y=True)
    return table[:n], labels[:n]


def test_real_digits_in_a_pipeline_under_cross_validation() -> None:
    table, labels = digits(80)
    given = embedded(epochs=4, lr=0.1, image_shape=(8, 8), value_range=(0, 1))
    steps = make_pipeline(MinMaxScaler(clip=True), given)
    scores = cross_val_score(steps, table, labels, cv=2, error_score="raise")
    assert scores.min() > 0.3  # a tenth would be chance


def test_a_grid_over_rates_and_options_finds_what_learns() -> None:
    images, tiny_backbone = pictures(), tiny()
    grid = {"lr": np.array([0.0, 0.05]), "options": [{"length": 1}, {"length": 2}], "random_state": np.array([3])}
    search = GridSearchCV(classifier(tiny_backbone, epochs=4), grid, cv=2, error_score="raise").fit(images, LABELS)
    assert search.best_params_["lr"] == 0.05
    assert search.best_estimator_.score(images, LABELS) == 1


def test_a_pickle_is_kilobytes_and_predicts_the_same_bits_on_a_backbone_read_anew() -> None:
    table, labels = digits(16)
    given = embedded("deep", image_shape=(8, 8), value_range=(0, 16), options={"length": 2})
    fitted = given.fit(table, labels)
    content, before = pickle.dumps(fitted), fitted.predict_proba(table)
    taking_turns._named.cache_clear()
    assert len(content) < 30_000
    assert np.array_equal(pickle.loads(content).predict_proba(table), before)


def test_estimators_of_one_name_share_one_backbone() -> None:
    table, labels = digits(4)
    given = embedded(image_shape=(8, 8), value_range=(0, 16))
    taking_turns._named.cache_clear()
    for estimator in (clone(given), clone(given), clone(given).set_params(method="shallow")):
        estimator.fit(table, labels).predict(table[:2])
    assert taking_turns._named.cache_info().misses == 1


@pytest.mark.parametrize("method", ["deep", "bias", "linear"])
def test_the_backbone_is_given_back_byte_for_byte(method: str) -> None:
    backbone = tiny().train()
    before = state(backbone)
    fitted = classifier(backbone, method).fit(pictures(), LABELS)
    fitted.predict(pictures())
    assert fitted.backbone is backbone
    assert state(backbone) == before
    assert backbone.training
    assert all(p.requires_grad and p.grad is None for p in backbone.parameters())
    vpt.tune(backbone, "shallow", num_classes=2)  # nothing is attached to it any more


def test_an_error_in_training_frees_the_backbone_and_keeps_what_was_learned_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, fitted = pictures(), classifier().fit(pictures(), LABELS)
    before = fitted.predict_proba(images)

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(classifier_module, "fit", fail)
        with pytest.raises(KeyboardInterrupt):
            fitted.fit(images, np.roll(LABELS, 1))
    assert np.array_equal(fitted.predict_proba(images), before)


def test_a_table_that_is_refused_leaves_what_was_learned_before() -> None:
    table = pictures().reshape(12, -1)
    fitted = classifier(image_shape=(16, 16, 3)).fit(table, LABELS)
    before = fitted.predict_proba(table)
    with pytest.raises(OptionError, match="image_shape"):
        fitted.fit(table[:, :300], LABELS)
    assert np.array_equal(fitted.predict_proba(table), before)
    assert not hasattr(fitted.fit(pictures(), LABELS), "n_features_in_")


def test_new_weights_in_the_same_file_are_read(tmp_path: Path) -> None:
    images, labels, file = pictures(2, (8, 8)), ["a", "b"], tmp_path / "weights.safetensors"
    tensors = vpt.load_backbone("embedded").state_dict()
    learned = []
    for time, factor in enumerate((1.0, 2.0)):
        save_file({name: tensor * factor for name, tensor in tensors.items()}, file)
        os.utime(file, (time, time))
        learned.append(embedded(checkpoint=file).fit(images, labels).predict_proba(images))
    assert not np.array_equal(*learned)


def test_the_same_seed_gives_the_same_bits_and_the_global_generators_stay() -> None:
    images = pictures()
    drawn = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    first, second = (classifier(augment="flip", random_state=5).fit(images, LABELS) for _ in range(2))
    other = classifier(augment="flip", random_state=6).fit(images, LABELS)
    assert np.array_equal(first.predict_proba(images), second.predict_proba(images))
    assert not np.array_equal(first.predict_proba(images), other.predict_proba(images))
    assert drawn == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


def test_threads_take_turns_on_one_backbone() -> None:
    images, backbone = pictures(), tiny()
    seeds = range(3)

    def work(seed: int) -> np.ndarray:
        return classifier(backbone, random_state=seed).fit(images, LABELS).predict_proba(images)

    alone = [work(seed) for seed in seeds]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(work, seeds))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("labels", [[7, -3] * 6, [True, False] * 6, ["b", "a"] * 6, [2.0, 1.0] * 6])
def test_labels_of_any_kind_come_back_as_they_are(labels: list[Any]) -> None:
    fitted = classifier(method="linear", epochs=6, lr=0.3).fit(pictures(), labels)
    assert fitted.classes_.tolist() == sorted(set(labels))
    assert fitted.predict(pictures()).tolist() == labels
    assert len(fitted.history_) == 6


def test_what_is_saved_is_the_task_that_vpt_load_takes(tmp_path: Path) -> None:
    images, backbone = pictures(), tiny()
    fitted = classifier(backbone).fit(images, LABELS)
    expected = fitted.predict_proba(images)
    model = vpt.load(backbone, fitted.save(tmp_path / "task"))
    dataset = vpt.ImageDataset(vpt.data.ImageSet.from_arrays(images, [0] * 12), vpt.Preprocessing.of(model))
    logits, _ = predict(model, dataset, batch_size=8)
    assert np.array_equal(torch.from_numpy(logits).softmax(1).numpy(), expected)
    assert vpt.artifacts.read(tmp_path / "task").classes == ["dark", "light"]


def test_a_saved_task_names_its_backbone(tmp_path: Path) -> None:
    table, labels = digits(20)
    fitted = embedded(image_shape=(8, 8), value_range=(0, 16)).fit(table, labels)
    restored = restore(fitted.save(tmp_path))
    assert restored.config.backbone.name == "embedded"
    assert restored.config.train.seed == 0
    assert restored.classes == [str(n) for n in range(10)]


def test_another_backbone_than_at_fit_is_refused() -> None:
    fitted = classifier(tiny(0)).fit(pictures(), LABELS).set_params(backbone=tiny(1))
    with pytest.raises(BackboneMismatch):
        fitted.predict(pictures())


def test_a_clip_reads_the_labels_as_names(tmp_path: Path) -> None:
    images, labels = pictures(4, (64, 64, 3)), ["a light square", "a dark square"] * 2
    given = PromptClassifier("embedded-clip", "coop", epochs=1, batch_size=4, options={"context_length": 2})
    fitted = given.fit(images, labels)
    predictor = vpt.Predictor(vpt.load_backbone("embedded-clip"))
    name = predictor.add(fitted.save(tmp_path / "squares"))
    answers = predictor([image for image in images], name)
    assert predictor.task(name).classes == ("a dark square", "a light square")
    assert [answer.label for answer in answers] == fitted.predict(images).tolist()


def test_methods_that_keep_labelled_images_get_those_of_fit() -> None:
    images, labels = pictures(4, (64, 64, 3)), ["light", "dark"] * 2
    fitted = PromptClassifier("embedded-clip", "tip_adapter", options={"alpha": 50.0}).fit(images, labels)
    assert fitted.score(images, labels) == 1
    assert fitted.history_ == []


def test_prompts_may_start_from_the_images_of_fit() -> None:
    started = [classifier(lr=0.0, options={"init": init}).fit(pictures(), LABELS) for init in ("kmeans", "random")]
    assert started[0].task_ != started[1].task_


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "backbone": ({"backbone": 3}, "backbone is 3"),
    "its name": ({"backbone": "embeded"}, "did you mean 'embedded'"),
    "weights of a model": ({"checkpoint": "weights.pth"}, "checkpoint is 'weights.pth'"),
    "no weights": ({"backbone": "embedded", "checkpoint": 3}, "checkpoint is 3"),
    "method": ({"method": "depe"}, "did you mean 'deep'"),
    "family": ({"method": "coop"}, "learns of class names"),
    "option": ({"options": {"lenght": 3}}, "'lenght' .did you mean 'length'"),
    "settled": ({"options": {"seed": 3}}, "options has seed"),
    "no options": ({"options": [3]}, r"options is \[3\]"),
    "no settings": ({"fit_options": 3}, "fit_options is 3"),
    "settings": ({"fit_options": {"optimiser": "sgd"}}, "'optimiser' .did you mean 'optimizer'"),
    "a parameter's name": ({"fit_options": {"lr": 1.0}}, "fit_options has 'lr'"),
    "rate": ({"lr": -1.0, "epochs": 0}, "(?s)epochs: 0 given.*lr: -1.0 given"),
    "seed": ({"random_state": None}, "seed: None given"),
    "augmentation": ({"augment": "lite"}, "did you mean 'light'"),
    "tokenizer": ({"tokenizer": len}, "tokenizer given"),
    "range": ({"value_range": (1, 0)}, r"value_range is \(1, 0\)"),
    "no range": ({"value_range": "grey"}, "value_range is 'grey'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameters_are_named_by_fit_and_by_nothing_before(name: str) -> None:
    changes, message = WRONG[name]
    given = PromptClassifier(**{"backbone": tiny(), "epochs": 1, **changes})
    with pytest.raises(OptionError, match=message):
        given.fit(pictures(), LABELS)
    with pytest.raises(NotFittedError):
        given.predict(pictures())


def test_nothing_is_printed_unless_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    classifier().fit(pictures(), LABELS)
    assert capfd.readouterr() == ("", "")
    classifier(verbose=True).fit(pictures(), LABELS)
    assert capfd.readouterr().err
