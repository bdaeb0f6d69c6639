"""An ONNX file gives the model's logits in onnxruntime, for batches of any size, and says what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.extras import needs_onnx
from support.matrix import images, small
from support.tuned_clips import moved
from support.visual_towers import images_of, visual_clip

import vpt
from vpt.errors import OptionError
from vpt.export import to_onnx
from vpt.export.placing import facts_of


def tuned() -> vpt.Tuned:
    model = small("flexivit_base", depth=1).float()
    return vpt.tune(model, "deep", length=2, init="normal", num_classes=4, head_init="normal")


def assert_same(file: Path, model: Any, x: torch.Tensor) -> None:
    """In onnxruntime, for batches of several sizes; and the prompts matter, or this would prove nothing."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    expected = model(x).detach()
    near = 1e-4 * float(expected.abs().max())
    for batch in (1, 4, 5):
        (got,) = session.run(["logits"], {"images": x[:batch].numpy()})
        torch.testing.assert_close(torch.as_tensor(got), expected[:batch], rtol=0, atol=near)
    with torch.no_grad():
        for tensor in model.prompts.parameters():
            tensor.normal_(generator=torch.Generator().manual_seed(5))
        assert float((model(x) - expected).abs().max()) > 5 * near


@needs_onnx
def test_onnxruntime_gives_the_logits_and_the_file_says_what_it_is(tmp_path: Path) -> None:
    import onnx

    model = tuned().eval()
    file = to_onnx(model, tmp_path / "a.onnx", opset=18, classes="abcd")
    assert_same(file, model, images(model.backbone, batch=5).float())
    written, beside = onnx.load(file), json.loads((tmp_path / "a.onnx.json").read_text())
    said = {entry.key: entry.value for entry in written.metadata_props}
    assert said.pop("method") == beside.pop("method") == "deep"
    assert {key: json.loads(value) for key, value in said.items()} == beside
    assert beside["classes"] == list("abcd")
    assert (written.opset_import[0].version, len(written.graph.initializer) > 0) == (18, True)
    shape = written.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["batch", 3, 64, 64]
    assert not any("prompt" in tensor.name for tensor in written.graph.initializer)
    assert str(Path(vpt.__file__).parent).encode() not in file.read_bytes()


@needs_onnx
def test_a_clip_is_exported_with_its_classes(tmp_path: Path) -> None:
    model = moved("maple", visual_clip("class token").float())
    assert_same(to_onnx(model, tmp_path / "a.onnx"), model, images_of(model.backbone, batch=5).float())


@needs_onnx
def test_an_opset_that_is_not_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"opset is 1; .* with \d+, and not"):
        to_onnx(tuned(), tmp_path / "a.onnx", opset=1)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OptionError, match=r"ONNX needs onnx .*pip install 'vpt\[export\]'"):
        to_onnx(tuned(), tmp_path / "a.onnx")


def test_facts_never_take_the_place_of_a_model(tmp_path: Path) -> None:
    for name in ("m.json", "m"):
        with pytest.raises(OptionError, match=r"ends in \.onnx"):
            to_onnx(None, tmp_path / name)  # type: ignore[arg-type]
    assert facts_of(tmp_path / "flowers-1.0.onnx") != facts_of(tmp_path / "flowers-1.1.onnx")
