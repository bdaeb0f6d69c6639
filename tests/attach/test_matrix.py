"""The promises of prompt tuning, over every kind of model timm's transformer modules have."""

from __future__ import annotations

import hashlib

import pytest
import timm
import torch
import torch.nn.functional as F
from support import plain
from support.extras import needs_peft
from support.matrix import KINDS, MODULES, VARIANTS, images, kind, small

import vpt

PATTERNS = ["first", "all", "last:1", (0, 2), (1,)]


def digest(model: torch.nn.Module) -> dict[str, str]:
    """SHA-256 of every parameter and every buffer, the non-persistent ones too."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: hashlib.sha256(t.detach().numpy().tobytes()).hexdigest() for name, t in tensors.items()}


def test_the_matrix_has_one_row_per_kind_and_covers_installed_timm() -> None:
    assert len(KINDS) == 31
    covered = {kind(small(name)) for name in KINDS}
    assert len(covered) == len(KINDS)
    for module in MODULES:
        for name in timm.list_models(module=module):
            with torch.device("meta"):
                heads = {"num_kv_heads": 1} if name.endswith("sapiens2") else {}
                model = timm.create_model(name, depth=1, **heads)
            assert kind(model) in covered, f"{name} is a kind of its own: add it to KINDS"


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_prompted_layers_is_the_backbone(variant: str) -> None:
    model = small(variant)
    x = images(model)
    with torch.no_grad():
        expected = model(x)
        tuned = vpt.tune(model, "deep", layers="none")
        assert torch.equal(tuned(x), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_hooks_equal_the_forward_pass_written_out(variant: str) -> None:
    model = small(variant)
    x = images(model, batch=3)
    for pattern in PATTERNS:
        try:
            tuned = vpt.tune(model, "deep", length=4, layers=pattern, init="normal", seed=3, path="hooks")
        except vpt.errors.OptionError:
            assert len(model.blocks) < 3
            continue
        torch.nn.init.normal_(tuned.prompts.tokens, generator=torch.Generator().manual_seed(len(VARIANTS)))
        got = tuned(x)
        tokens = {layer: tuned.prompts.tokens[row] for row, layer in enumerate(tuned.prompts.layers)}
        (gradient,) = torch.autograd.grad(got.square().sum(), tuned.prompts.tokens)
        backbone = tuned.detach()
        values = {layer: t.detach().clone().requires_grad_() for layer, t in tokens.items()}
        expected = plain.forward(backbone, x, values)
        expected_gradient = torch.stack(torch.autograd.grad(expected.square().sum(), list(values.values())))
        if pattern == "all":
            assert not torch.equal(got, backbone(x)), "prompts without any effect prove nothing"
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-9 * float(gradient.abs().max()))


@pytest.mark.parametrize(
    "method",
    [
        *("linear", "bias", "partial", "mlp", "shallow", "deep", "added", "frame", "pixels", "full"),
        pytest.param("lora", marks=needs_peft),
    ],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_training_changes_exactly_the_declared_tensors(variant: str, method: str) -> None:
    model = small(variant)
    if variant == "hybrid" and method == "pixels":
        pytest.skip("a hybrid has no plain patch embedding; the error is tested in test_methods.py")
    before, x = digest(model), images(model)
    tuned = vpt.tune(model, method, num_classes=3, head_init="normal").train()
    declared = set(tuned.trained_state())
    optimizer = torch.optim.SGD(tuned.trainable().values(), lr=1e-3)
    untouched = digest(tuned)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(tuned(x), torch.tensor([0, 2])).backward()
        assert {n for n, p in tuned.named_parameters() if p.grad is not None} <= set(tuned.trainable())
        optimizer.step()
    changed = {name for name, value in digest(tuned).items() if value != untouched[name]}
    assert changed <= declared
    assert changed, "nothing was learned"
    if tuned.prompts is not None:  # a frame may lie outside of what whole patches cover, all else must move
        own = {n for n in declared if n.startswith("prompts.")}
        assert own & changed if method == "frame" else own <= changed
    tuned.detach()
    assert digest(model) == before


@pytest.mark.parametrize("method", ["linear", "deep", "partial", pytest.param("lora", marks=needs_peft)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_frozen_modules_stay_in_eval(variant: str, method: str) -> None:
    model = small(variant)
    tuned = vpt.tune(model, method, num_classes=3).train()
    active = tuple(f"{name}." for name in (*tuned.learned.modules, *tuned.head_names))
    for name, module in model.named_modules():
        held = name.endswith(".base_layer")  # by an adapter, and frozen
        assert module.training == (f"{name}.".startswith(active) and not held), name
    assert tuned.prompts is None or tuned.prompts.training
    assert not any(m.training for m in tuned.eval().modules())


@pytest.mark.parametrize("variant", VARIANTS)
def test_detach_is_an_exact_inverse_also_after_an_exception(variant: str) -> None:
    model = small(variant).train()
    x, before = images(model), digest(model)
    traces = lambda: {n: (sorted(m.__dict__), m.training, len(m._forward_hooks), len(m._forward_pre_hooks), getattr(m, "num_prefix_tokens", None)) for n, m in model.named_modules()}  # noqa: E731, E501  # fmt: skip
    shape = traces()
    tuned = vpt.tune(model, "deep", length=2, num_classes=9)
    with pytest.raises(Exception, match=r".+"):
        tuned(x[:, :, :5])
    assert tuned.detach() is model
    assert tuned.detach() is model
    assert traces() == shape
    assert digest(model) == before
    with pytest.raises(vpt.errors.OptionError, match="detached"):
        tuned(x)
