"""A program gives the model's logits for batches of any size, holds no prompt, and leaves the model as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.matrix import images, small
from support.tuned_clips import moved
from support.visual_towers import images_of, visual_clip

import vpt
from vpt.errors import ArtifactError, OptionError
from vpt.export import to_program, to_timm
from vpt.export.frozen import TOLERANCE, freeze
from vpt.export.program import FACTS, trace

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "fused": ("flexivit_base", "deep", {}),
    "fused, relative bias": ("beit_base_patch16_224", "deep", {}),
    "hooks, two heads": ("deit_base_distilled_patch16_224", "deep", {"path": "hooks"}),
    "hooks, rotary": ("vit_base_patch16_lingbot", "shallow", {"path": "hooks"}),
    "tokens, then keys": ("vit_base_patch16_reg4_gap_256", "shallow", {}),
    "frame": ("flexivit_base", "frame", {}),
}


def tuned(case: str) -> vpt.Tuned:
    name, method, options = CASES[case]
    return vpt.tune(small(name, depth=2), method, num_classes=4, head_init="normal", init="normal", **options)


def distance(got: torch.Tensor, expected: torch.Tensor) -> float:
    """As a share of the largest that is expected."""
    return float(((got - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_the_models_for_batches_of_any_size(case: str) -> None:
    model = tuned(case).eval()
    program = trace(freeze(model))
    x, run = images(model.backbone, batch=5), program.module()
    for batch in (1, 4, 5):
        assert distance(run(x[:batch]), model(x[:batch])) < 1e-12
    with torch.no_grad():
        for tensor in model.prompts.parameters():
            tensor.normal_(generator=torch.Generator().manual_seed(5))
    assert distance(run(x), model(x)) > 1e-4, "prompts without any effect prove nothing"
    assert set(program.state_dict) == {f"backbone.{name}" for name in model.backbone.state_dict()}


def test_a_clip_becomes_image_tower_and_class_features() -> None:
    model = moved("maple", visual_clip("class token"))
    frozen = freeze(model)
    program = trace(frozen)
    x = images_of(model.backbone, batch=4)
    for batch in (1, 4):
        assert distance(program.module()(x[:batch]), model(x[:batch])) < 1e-12
    assert all(name.startswith(("visual.", "answer.")) for name in program.state_dict)
    assert not any("prompts" in name for name in program.state_dict)
    assert frozen.facts["classes"] == list(model.classnames)


def test_class_features_that_depend_on_the_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'cocoop' encodes the texts of all classes anew for each image"):
        to_program(moved("cocoop"), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


def state(model: vpt.Tuned) -> list[Any]:
    return [
        {name: module.training for name, module in model.named_modules()},
        {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
        [(block._folded, block._folded_from) for block in model._fused],
        {name: tensor._version for name, tensor in model.state_dict(keep_vars=True).items()},
    ]


def test_the_file_says_what_it_is_and_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = tuned("fused").train()
    model(images(model.backbone)).sum().backward()
    before, random, extra = state(model), torch.get_rng_state(), {FACTS: ""}
    file = to_program(model, tmp_path / "deeper" / "a.pt2", classes="abcd")
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    torch.export.load(file, extra_files=extra)
    facts = json.loads(extra[FACTS])
    assert facts == json.loads((tmp_path / "deeper" / "a.pt2.json").read_text())
    assert facts["classes"] == list("abcd")
    assert facts["images"] == {"shape": ["batch", 3, 64, 64], "dtype": "float64"}
    assert facts["logits"] == {"shape": ["batch", 4], "dtype": "float64"}
    assert facts["preprocessing"] == vpt.Preprocessing.of(model).to_dict()
    assert (facts["method"], facts["options"]["length"]) == ("deep", 10)
    vpt.save(model, tmp_path / "task")
    assert facts["fingerprint"] == vpt.artifacts.read(tmp_path / "task").fingerprint


def test_a_program_that_differs_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOLERANCE, torch.float64, -1.0)
    (tmp_path / "a.pt2").write_text("earlier")
    with pytest.raises(ArtifactError, match=r"a\.pt2.* is not left: for 1 images its logits are \d"):
        to_program(tuned("fused"), tmp_path / "a.pt2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.pt2", "earlier")]


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    model = tuned("fused")
    with pytest.raises(OptionError, match="3 names; the model has 4"):
        to_program(model, tmp_path / "a.pt2", classes="abc")
    with pytest.raises(OptionError, match="images of 32 x 48, which the model does not take"):
        to_program(model, tmp_path / "a.pt2", preprocessing=vpt.Preprocessing((32, 48)))
    for write in (to_program, to_timm):
        with pytest.raises(OptionError, match=r"the model is a VisionTransformer; exported is what vpt\.tune"):
            write(model.backbone, tmp_path / "a.pt2")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"torch.bfloat16; .*model.float\(\)"):
        to_program(model.bfloat16(), tmp_path / "a.pt2")
    model.detach()
    with pytest.raises(OptionError, match="detached"):
        to_program(model, tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())
