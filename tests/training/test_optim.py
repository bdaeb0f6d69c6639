import pytest
import timm
import torch

from vpt.errors import TrainingError
from vpt.training import FitConfig
from vpt.training.optim import build_optimizer, kind, parameter_groups
from vpt.training.trained import trainable

from .tiny import TinyTuned, raw_model


def tiny_vit(**options):
    return timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=1, **options)


def names_of(model, group):
    mine = {id(p) for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in mine}


def test_kinds_of_a_vit():
    model = tiny_vit(init_values=0.1)
    kinds = {name: kind(name, model) for name, _ in model.named_parameters()}
    assert kinds["blocks.0.attn.qkv.weight"] == kinds["head.weight"] == kinds["pos_embed"] == "weight"
    assert kinds["blocks.0.attn.qkv.bias"] == kinds["head.bias"] == "bias"
    assert kinds["norm.weight"] == kinds["norm.bias"] == kinds["blocks.0.ls1.gamma"] == "norm"
    assert kind("1.weight", raw_model()) == "norm"
    assert kind("prompts.tokens", TinyTuned()) == "prompts"


@pytest.mark.parametrize("decay", [[], ["bias"], ["norm"], ["prompts"], ["bias", "norm", "prompts"]])
def test_only_weights_decay_unless_asked(decay):
    model = TinyTuned()
    model.norm = torch.nn.LayerNorm(8)
    groups = parameter_groups(model, trainable(model), 0.1, decay)
    decaying = {name for group in groups if group["weight_decay"] for name in names_of(model, group)}
    assert decaying == {name for name in trainable(model) if kind(name, model) in {"weight", *decay}}
    assert sum(len(group["params"]) for group in groups) == len(trainable(model))


def test_optimisers_and_nothing_to_train():
    model = TinyTuned()
    assert isinstance(build_optimizer(model, trainable(model), FitConfig()), torch.optim.AdamW)
    sgd = build_optimizer(model, trainable(model), FitConfig(optimizer="sgd", momentum=0.5))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == 0.5
    with pytest.raises(TrainingError, match="nothing to train"):
        build_optimizer(model, {}, FitConfig())
