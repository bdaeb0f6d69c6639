"""A tuned model as a program of `torch.export`: a graph of tensors, which torch runs without vpt, timm or open_clip."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from vpt.data import Preprocessing
from vpt.errors import OptionError
from vpt.export.constants import Constant
from vpt.export.frozen import Frozen, freeze
from vpt.export.placing import check_suffix, facts_of, placing
from vpt.methods import Tuned, TunedClip

FACTS = "vpt.json"
"""The name, within a program's file, of what vpt says about it."""


def to_program(
    model: Tuned | TunedClip,
    file: Path | str,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Path:
    """Write `model` as a program for `torch.export.load`, for batches of any size, and answer with the file.

    Prompts are constants in it. What it takes and answers stands in it as `vpt.json`, and beside it, with .json
    after its name. classes, preprocessing: as for `vpt.save`. Before the file is in its place it is loaded and compared
    with the model. Raises `OptionError` for what cannot be traced, `ArtifactError` where the logits differ.
    """
    file = check_suffix(Path(file), ".pt2")
    frozen = freeze(model, classes, preprocessing)
    facts = json.dumps(frozen.facts, indent=1)
    whole = io.BytesIO()  # on a full disk torch's own writing of files ends the process
    torch.export.save(trace(frozen), whole, extra_files={FACTS: facts})
    with placing(file) as draft:
        draft.write_bytes(whole.getbuffer())
        facts_of(draft).write_text(facts + "\n")
        frozen.check(str(file), torch.export.load(draft).module())
    return file


@torch.no_grad()
def trace(frozen: Frozen) -> ExportedProgram:
    """The graph from images `[B, 3, H, W]` to logits `[B, C]`, B free. Raises `OptionError` where there is none."""
    module = Constant(frozen.model)
    try:
        program = torch.export.export(module, (frozen.images,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    except Exception as error:  # whatever the tracer does not know of this model
        reason = str(error).strip().split("\n")[0]
        raise OptionError(
            f"{frozen.model.method!r} on this {type(frozen.model.backbone).__name__} cannot be traced: {reason}"
        ) from error
    program.constants.update({name: _own(found) for name, found in program.constants.items()})
    return program


def _own(constant: Any) -> Any:
    """A tensor in memory of its own, and not a part of one whose whole would be written."""
    return constant.clone(memory_format=torch.contiguous_format) if isinstance(constant, Tensor) else constant
