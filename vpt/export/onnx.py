"""A tuned model as ONNX: one file for every runtime that reads it, compared with PyTorch before it is left."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vpt.data import Preprocessing
from vpt.errors import OptionError
from vpt.export.frozen import Frozen, freeze
from vpt.export.placing import check_suffix, facts_of, placing
from vpt.export.program import trace
from vpt.methods import Tuned, TunedClip

NEEDS = ("onnx", "onnxscript", "onnxruntime")
"""Packages of the extra `export`."""


def to_onnx(
    model: Tuned | TunedClip,
    file: Path | str,
    *,
    opset: int | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Path:
    """Write `model` as ONNX, from `images` to `logits`, for batches of any size, and answer with the file.

    Prompts are constants in it. opset: version of ONNX's operators; by default the one that torch writes. classes,
    preprocessing: as for `vpt.save`; they stand in the file's metadata as JSON, and beside it, .json after its name.
    Weights of more than 2 GB stand beside it too, as ONNX has it. Before the file is in its place onnxruntime runs it,
    and its logits are compared with the model's. Raises `OptionError` where a package of the extra `export` is
    missing, for what cannot be traced or written, and `ArtifactError` where the logits differ.
    """
    _check_installed()
    file = check_suffix(Path(file), ".onnx")
    frozen = freeze(model, classes, preprocessing)
    written = _written(frozen, opset)
    with placing(file) as draft:
        written.save(draft)
        facts_of(draft).write_text(json.dumps(frozen.facts, indent=1) + "\n")
        frozen.check(str(file), _Session(draft, opset))
    return file


def _check_installed() -> None:
    for name in NEEDS:
        try:
            import_module(name)
        except ImportError as error:
            raise OptionError(f"ONNX needs {name} ({error}): pip install 'vpt[export]'") from error


def _written(frozen: Frozen, opset: int | None) -> Any:
    """torch's ONNX model, with the facts in its metadata instead of the lines of source that its nodes are from."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    program = trace(frozen)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    try:
        with _quiet():
            written: Any = torch.onnx.export(
                program, dynamo=True, opset_version=opset, verbose=False, dynamic_shapes=({0: "batch"},), **names
            )
    except Exception as error:  # an operator or an opset that the exporter does not know
        reason = str(error).strip().split("\n")[0]
        raise OptionError(f"torch.onnx cannot write {frozen.model.method!r} with opset {opset}: {reason}") from error
    if opset not in (None, got := written.model.opset_imports[""]):  # it has no way from the one to the other
        raise OptionError(f"opset is {opset!r}; torch.onnx can write this model with {got}, and not with that")
    ClearMetadataAndDocStringPass()(written.model)
    written.model.metadata_props.update({key: _text(fact) for key, fact in frozen.facts.items()})
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of the ONNX optimiser on nodes that it leaves as they are."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _text(fact: Any) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact)


class _Session:
    """The file in onnxruntime, on the CPU. Raises `OptionError` where onnxruntime cannot run it."""

    def __init__(self, file: Path, opset: int | None) -> None:
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # an operator that it has not, most often in float64
            raise OptionError(f"onnxruntime cannot run this model with opset {opset}: {error}") from error

    def __call__(self, images: Tensor) -> Tensor:
        (logits,) = self._session.run(["logits"], {"images": images.numpy()})
        return torch.as_tensor(logits)
