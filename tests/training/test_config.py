import json

import pytest

from vpt.errors import OptionError
from vpt.training import FitConfig


def test_defaults_are_accepted():
    FitConfig().validate()
    assert FitConfig().warmup == 10
    assert FitConfig(epochs=20).warmup == 2
    assert FitConfig(warmup_epochs=5).warmup == 5


def test_scaled_rate_follows_the_batch():
    assert FitConfig(lr=2.0, scale_lr=True, batch_size=64).base_lr == 0.5
    assert FitConfig(lr=2.0, batch_size=64).base_lr == 2.0


def test_every_wrong_field_is_listed_at_once():
    wrong = {
        "epochs": 0, "batch_size": "64", "optimizer": "adam", "lr": float("nan"), "scale_lr": 1, "weight_decay": -1,
        "momentum": 1.0, "warmup_epochs": -1, "schedule": "epochs", "decay": ["biass"], "label_smoothing": 1.0,
        "clip_norm": 0, "precision": "bf32", "class_weights": "even", "seed": -1, "workers": 1.5, "log_every": 0,
        "checkpoint_every": True, "tensorboard": "yes", "frozen_cache_gb": -1, "compile": 0,
        "gradient_checkpointing": 1,
    }  # fmt: skip
    assert wrong.keys() == FitConfig().to_dict().keys()
    with pytest.raises(OptionError) as caught:
        FitConfig(**wrong).validate()
    lines = str(caught.value).splitlines()[1:]
    assert {line.strip().partition(":")[0] for line in lines} == wrong.keys()
    assert all("accepted" in line for line in lines)
    assert "did you mean 'adamw'" in str(caught.value)
    assert "did you mean 'bias'" in str(caught.value)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, "x"], 3, None])
def test_class_weights_must_be_numbers(weights):
    with pytest.raises(OptionError, match="class_weights"):
        FitConfig(class_weights=weights).validate()


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(OptionError, match=r"warmup_epochs.*at most epochs \(5\)"):
        FitConfig(epochs=5, warmup_epochs=6).validate()


def test_recipe_is_plain_and_leaves_bookkeeping_out():
    config = FitConfig(class_weights=(1, 2), decay=["bias"])
    assert json.loads(json.dumps(config.recipe())) == config.recipe()
    assert config.recipe() == FitConfig(class_weights=[1.0, 2.0], decay=["bias"], workers=4, log_every=3).recipe()
    assert config.recipe() != FitConfig(class_weights=[1.0, 2.0], decay=["bias"], seed=1).recipe()
