import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vpt.errors import DataError, OptionError, TrainingError
from vpt.training import evaluate, predict, write_report
from vpt.training.evaluate import summarise

from .tiny import TinyData, TinyTuned


def test_rows_follow_the_dataset_and_modes_are_left_alone():
    model, data = TinyTuned(), TinyData(23)
    model.train()
    model.drop.eval()
    modes = [module.training for module in model.modules()]
    result = evaluate(model, data, batch_size=5)
    assert [module.training for module in model.modules()] == modes
    whole, labels = predict(model, data, batch_size=23)
    np.testing.assert_allclose(np.log(result.probabilities), torch.from_numpy(whole).log_softmax(1), atol=1e-5)
    assert (result.labels == data.labels.numpy()).all()
    assert (labels == result.labels).all()
    assert result.classes == ("a", "b", "c")
    assert evaluate(model, data, batch_size=7, workers=2).accuracy == result.accuracy


@given(st.integers(2, 5), st.data())
def test_figures_are_those_written_out(classes, data):
    n = data.draw(st.integers(1, 25))
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    logits = np.random.default_rng(n).normal(size=(n, classes))
    result = summarise(logits, labels, tuple("abcde"[:classes]))
    hits = result.predictions == labels
    assert result.accuracy == pytest.approx(hits.mean())
    assert result.mean_class_accuracy == pytest.approx(np.mean([hits[labels == c].mean() for c in np.unique(labels)]))
    f1 = []
    for c in np.union1d(labels, result.predictions):
        both = ((labels == c) & (result.predictions == c)).sum()
        f1.append(2 * both / ((labels == c).sum() + (result.predictions == c).sum()))
    assert result.macro_f1 == pytest.approx(np.mean(f1))
    assert result.confusion.shape == (classes, classes)
    assert result.confusion.sum() == n
    assert np.trace(result.confusion) == hits.sum()
    assert result.probabilities.sum(1) == pytest.approx(np.ones(n))


def test_classes_and_logits_must_be_as_many():
    for named in (2, 4):
        data = TinyData(classes=2)
        data.images.classes = tuple("abcd"[:named])
        with pytest.raises(OptionError, match=f"model answers 3 classes, the evaluation data has {named}"):
            evaluate(TinyTuned(), data)
    unnamed = evaluate(TinyTuned(), TinyData(classes=2, named=False)).to_dict()
    assert unnamed["classes"] == ["0", "1", "2"]
    assert unnamed["per_class_accuracy"]["2"] is None


def test_what_cannot_be_predicted_is_told():
    with pytest.raises(TrainingError, match=r"logits \[B, C\]; for a batch of 5 it gave \[5, 3, 4, 4\]"):
        predict(nn.Conv2d(3, 3, 1), TinyData(), batch_size=5)
    with pytest.raises(OptionError, match="batch_size: 0 given; accepted: a whole number from 1"):
        evaluate(TinyTuned(), TinyData(), batch_size=0)


def test_bad_data_and_bad_logits_are_named():
    with pytest.raises(DataError, match="empty"):
        evaluate(TinyTuned(), TinyData(0))
    with pytest.raises(DataError, match=r"outside 0 ... 2, first tiny\[3\] with label 3"):
        evaluate(TinyTuned(), TinyData(classes=4))
    broken = TinyData()
    broken.pixels[4] = math.inf
    with pytest.raises(TrainingError, match=r"1 images, first tiny\[4\]"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), broken)


@pytest.mark.parametrize(("classes", "history"), [(3, True), (3, False), (30, True)])
def test_report_is_a_picture_and_plain_json(tmp_path, classes, history):
    rng = np.random.default_rng(0)
    result = summarise(rng.normal(size=(60, classes)), rng.integers(0, classes, 60), tuple(map(str, range(classes))))
    rows = (
        [{"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.5, "val_loss": 1.0} for e in (1, 2)] if history else []
    )
    report, picture = write_report(tmp_path / "new", result, rows, "a title")
    content = json.loads(report.read_text())
    assert content["accuracy"] == result.accuracy
    assert content["history"] == rows
    assert np.array(content["confusion"]).sum() == 60
    assert picture.read_bytes().startswith(b"\x89PNG")
