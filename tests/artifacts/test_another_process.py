"""Another process gets the same bits from saved tasks, of a timm model and of a CLIP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vpt.artifacts import save


def of_timm() -> tuple[Any, Callable[[Path], Any], Tensor]:
    """A tuned model, what loads it from a folder, and images for it."""
    from test_round_trip import IMAGES, backbone, load, trained

    return trained(), lambda folder: load(backbone(), folder), IMAGES


def of_clip() -> tuple[Any, Callable[[Path], Any], Tensor]:
    """The same, of an open_clip model."""
    from test_clip_round_trip import again, images, moved

    return moved("cocoop"), again, images()


KINDS = {"timm": of_timm, **({"open_clip": of_clip} if find_spec("open_clip") else {})}


def answer(folder: Path) -> None:
    """Write the logits of every task in `folder`; what another process runs."""
    found = {kind: make()[1](folder / kind)(make()[2]).detach() for kind, make in KINDS.items()}
    save_file(found, folder / "logits.safetensors")


def test_another_process_gets_the_same_bits(tmp_path: Path) -> None:
    expected = {}
    for kind, make in KINDS.items():
        model, _, images = make()
        save(model, tmp_path / kind)
        expected[kind] = model(images)
    paths = [str(folder) for folder in Path(__file__).parents[:2]]
    program = (
        f"import sys; sys.path[:0] = {paths}; import test_another_process as t; t.answer(t.Path({str(tmp_path)!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    found = load_file(tmp_path / "logits.safetensors")
    assert all(torch.equal(found[kind], logits) for kind, logits in expected.items())
