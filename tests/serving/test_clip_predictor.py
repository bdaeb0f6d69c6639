"""Tasks of class names on one CLIP: contexts, prompts in the image tower, features of classes, in one pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from support.shared_tasks import assert_alike, assert_as_alone, left, noisy
from support.small_tokenizer import SmallTokenizer
from support.tuned_clips import NAMES
from support.visual_towers import visual_clip
from torch import Tensor

import vpt
from vpt.errors import ArtifactError, BackboneMismatch, OptionError

TOWERS = ("class token", "mean", "coca", "own attention, qk norm", "timm, mean, mlp", "timm, rotary", "timm, relative")
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("zero_shot", {}),
    ("linear", {}),
    ("coop", {"context_length": 3}),
    ("coop", {"context_length": 2, "class_specific": True}),
    ("cocoop", {}),
    ("kgcoop", {}),
    ("prograd", {}),
    ("clip_vpt", {"length": 2}),
    ("clip_vpt", {"length": 3, "layers": "first"}),
    ("ivlp", {}),
    ("maple", {}),
    ("promptsrc", {}),
    ("taskres", {}),
    ("clip_adapter", {}),
    ("tip_adapter", {}),
    ("tip_adapter_f", {}),
)


def images(clip: Any, count: int, seed: int = 0) -> Tensor:
    size = clip.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return torch.randn(count, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def saved(clip: Any, number: int, folder: Path, x: Tensor) -> Tensor:
    """Save a task of that number in `METHODS`; answers with its logits of `x`."""
    method, options = METHODS[number]
    if method.startswith("tip_adapter"):
        options = {"support_images": images(clip, 6, 9), "support_labels": [0, 1, 2, 0, 1, 2]}
    names = (NAMES * 2)[number % 4 : number % 4 + 3]
    model = vpt.tune(clip, method, classnames=names, tokenizer=SmallTokenizer(), seed=number, **options)
    return left(noisy(model, number), folder, x)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_method_in_one_pass_is_each_alone(tower: str, tmp_path: Path) -> None:
    clip = visual_clip(tower)
    x = images(clip, 2)
    alone = {str(i): saved(clip, i, tmp_path / str(i), x) for i in range(len(METHODS))}
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer())
    for name in alone:
        predictor.add(tmp_path / name)
    rows = [i % 2 for i in range(len(alone))]
    results = predictor(x[rows], list(alone))
    assert_as_alone(results, alone, rows)
    assert results[2].labels == tuple(NAMES[2:] + NAMES[:1])
    (base,) = predictor(x[:1], None)
    with torch.no_grad():
        assert_alike(base.logits, clip.encode_image(x[:1], normalize=True)[0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())


def test_texts_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = visual_clip("class token")
    x = images(clip, 1)
    saved(clip, 2, tmp_path / "task", x)
    calls: list[int] = []
    forward = vpt.methods.clip.text_encoder.TextEncoder.forward
    monkeypatch.setattr(
        vpt.methods.clip.text_encoder.TextEncoder, "forward", lambda *args: (calls.append(1), forward(*args))[1]
    )
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer())
    predictor.add(tmp_path / "task")
    for _ in range(3):
        predictor(x, "task")
    assert len(calls) == 1


def test_a_task_moves_without_its_clip(tmp_path: Path) -> None:
    clip = visual_clip("class token")
    x = images(clip, 1)
    alone = {str(i): saved(clip, i, tmp_path / str(i), x) for i in (2, 4)}
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer(), resident=1)
    for name in alone:
        predictor.add(tmp_path / name)
    for name in (*alone, *alone):
        assert_as_alone(predictor(x, name), alone, [0])
        assert predictor.task(name).bytes < 20_000


def test_what_cannot_share_a_clip_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    clip = visual_clip("class token")
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer())
    model = vpt.tune(clip, "lora", classnames=NAMES, tokenizer=SmallTokenizer())
    vpt.save(model, tmp_path / "lora")
    model.detach()
    with pytest.raises(OptionError, match="changes the backbone itself"):
        predictor.add(tmp_path / "lora")
    saved(clip, 2, tmp_path / "coop", images(clip, 1))
    with pytest.raises(BackboneMismatch):
        vpt.Predictor(visual_clip("mean"), tokenizer=SmallTokenizer()).add(tmp_path / "coop")
    with pytest.raises((ArtifactError, OptionError)):
        vpt.Predictor(clip).add(tmp_path / "coop")
    assert predictor.add(tmp_path / "coop") == "coop"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_clip_in_half_precision(precision: str, tmp_path: Path) -> None:
    clip = visual_clip("class token", precision=precision)
    x = images(clip, 2).to(torch.float32)
    alone = {}
    for method, options in (("clip_vpt", {"length": 2}), ("maple", {}), ("coop", {})):
        model = noisy(vpt.tune(clip, method, classnames=NAMES, tokenizer=SmallTokenizer(), **options), 1)
        vpt.save(model, tmp_path / method)
        with torch.no_grad():
            alone[method] = model(x.to(model.input_dtype))
        model.detach()
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer())
    for method in alone:
        predictor.add(tmp_path / method)
        found = predictor(x, method)[1].logits
        torch.testing.assert_close(found, alone[method][1], rtol=0, atol=0.05 * float(alone[method].abs().max()))


def test_tasks_come_and_go_while_others_predict(tmp_path: Path) -> None:
    clip = visual_clip("timm, relative")
    x = images(clip, 1)
    alone = {str(i): saved(clip, i, tmp_path / str(i), x) for i in (2, 8, 10)}
    predictor = vpt.Predictor(clip, tokenizer=SmallTokenizer())
    for name in alone:
        predictor.add(tmp_path / name)

    def churn() -> None:
        for _ in range(6):
            for name in alone:
                predictor.add(tmp_path / name, name="passing")
                predictor.remove("passing")

    with ThreadPoolExecutor(2) as pool:
        churning = pool.submit(churn)
        while not churning.done():
            assert_as_alone(predictor(x[[0] * 3], list(alone)), alone, [0] * 3)
        churning.result()
