"""The loop with adapters: they train alone, resume, and let what is frozen before them be computed once."""

from __future__ import annotations

import pytest
import torch
from support.extras import needs_peft
from support.matrix import images, small

import vpt
from vpt.training import FitConfig, class_attention, evaluate, fit
from vpt.training.checkpoint import Checkpoints
from vpt.training.needed import first_learned_block

from .test_frozen_inputs import IMAGES, assert_same, run
from .tiny import TinyData, metrics, quick, small_vit

pytestmark = needs_peft

VIT = "flexivit_base"
METHODS = [
    ("lora", {"rank": 2, "dropout": 0.2}),
    ("lora", {"rank": 2, "dora": True, "targets": "all"}),
    ("adapter", {"kind": "delora", "settings": {"r": 2, "module_dropout": 0.2}}),
    ("adapter", {"kind": "loha", "settings": {"r": 2}}),
]


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_adapters_train_alone_and_resume_bit_for_bit(method, options, tmp_path):
    class Cut(TinyData):
        def set_epoch(self, epoch):
            super().set_epoch(epoch)
            if epoch == 2:
                raise KeyboardInterrupt

    def tuned():
        return vpt.tune(small_vit(), method, num_classes=3, **options)

    val, config = TinyData(9, size=16, seed=1), quick(epochs=3, lr=0.01)
    whole = tuned()
    frozen = {name: tensor.clone() for name, tensor in whole.frozen_state().items()}
    assert frozen.keys() == {name for name in small_vit().state_dict() if not name.startswith("head.")}
    start = {name: tensor.clone() for name, tensor in whole.trained_state().items()}
    history = fit(whole, TinyData(size=16), val, config, quiet=True).history
    assert all(torch.equal(whole.frozen_state()[name], tensor) for name, tensor in frozen.items())
    assert all(not torch.equal(whole.trained_state()[name], start[name]) for name in whole.trainable())
    assert history[-1]["train_loss"] < history[0]["train_loss"]

    with pytest.raises(KeyboardInterrupt):
        fit(tuned(), Cut(size=16), val, config, out=tmp_path, quiet=True)
    assert Checkpoints(tmp_path).load()["model"].keys() == whole.trained_state().keys()
    later = tuned()
    assert metrics(fit(later, TinyData(size=16), val, config, out=tmp_path, quiet=True).history) == metrics(history)
    assert all(torch.equal(later.trained_state()[name], tensor) for name, tensor in whole.trained_state().items())
    assert evaluate(later, val).accuracy == history[-1]["val_accuracy"]


@pytest.mark.parametrize(
    ("layers", "start"), [("all", 0), ("last:2", 1), ("last:1", 2), ([0, 2], 0), ("none", 3)]
)  # fmt: skip
def test_learning_starts_at_the_first_adapter(layers, start):
    assert first_learned_block(vpt.tune(small(VIT), "lora", layers=layers)) == start


@pytest.mark.parametrize("variant", [VIT, "beit, both biases", "mixed rotary"])
def test_what_comes_before_the_first_adapter_is_computed_once(variant):
    options = {"layers": "last:2", "rank": 2, "dropout": 0.3}
    fast = run(variant, "lora", options=options)
    plain = run(variant, "lora", options=options, cache_gb=0)
    assert fast[2] <= IMAGES + 2
    assert plain[2] >= len(plain[1]) * IMAGES
    assert_same(fast, plain)
    assert run(variant, "lora", options=options, block=1, epochs=2)[2] >= 2 * IMAGES


def test_gradient_checkpointing_changes_nothing_learned():
    options = {"rank": 2, "dropout": 0.3}
    plain = run(VIT, "lora", options=options, epochs=2)
    assert_same(plain, run(VIT, "lora", options=options, epochs=2, gradient_checkpointing=True))


def test_bf16_trains_float32_adapters():
    model = vpt.tune(small_vit(), "lora", num_classes=3)
    fit(model, TinyData(size=16), config=FitConfig(epochs=1, precision="bf16", tensorboard=False), quiet=True)
    assert {parameter.dtype for parameter in model.trainable().values()} == {torch.float32}


def test_a_map_of_attention_is_right_or_none():
    backbone = small(VIT)
    x, own = images(backbone), class_attention(backbone, images(backbone))
    last = vpt.tune(backbone, "lora", layers="last:1")
    assert class_attention(backbone, x) is None, "the adapter of queries and keys would be left out"
    last.detach()
    values = vpt.tune(backbone, "lora", layers="last:1", targets=["attn.proj", "fc1"])
    torch.nn.init.normal_(backbone.blocks[2].attn.proj.lora_B["default"].weight)
    assert torch.equal(class_attention(backbone, x), own), "what the last block looks at does not change"
    values.detach()
    earlier = vpt.tune(backbone, "lora", layers=[0])
    torch.nn.init.normal_(backbone.blocks[0].attn.qkv.lora_B["default"].weight)
    assert not torch.allclose(class_attention(backbone, x), own)
    earlier.detach()
    assert torch.equal(class_attention(backbone, x), own)
