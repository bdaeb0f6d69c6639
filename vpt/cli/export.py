"""`vpt export`: a saved task for where vpt is not installed: ONNX, a program of `torch.export`, a plain timm model."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vpt.runs.console import facts, notes


class Target(StrEnum):
    """What a task is exported as."""

    onnx = "onnx"
    program = "program"
    timm = "timm"


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, or an artefact's.")],
    out: Annotated[Path, typer.Option(help="The file to write; of timm, the folder.")],
    format: Annotated[
        Target, typer.Option("--format", "-f", help="onnx; program, of torch.export; timm, a plain timm model.")
    ] = Target.onnx,
    backbone: Annotated[str | None, typer.Option(help="The backbone, where the artefact does not say.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, where they lie elsewhere now.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The folder of its tokenizer's files, likewise.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Accept another backbone than the task's own.")] = False,
) -> None:
    """Write a saved task, backbone and all, for where vpt is not installed; what is written is checked first.

    \b
    vpt export runs/digits-deep --out digits.onnx
    vpt export runs/digits-shallow --format timm --out digits-timm
    """
    from vpt.export import to_onnx, to_program, to_timm
    from vpt.runs.restore import restore

    writers: dict[Target, Callable[..., Path]] = {
        Target.onnx: to_onnx, Target.program: to_program, Target.timm: to_timm,
    }  # fmt: skip
    with notes():
        saved = restore(run, backbone=backbone, checkpoint=checkpoint, tokenizer=tokenizer, force=force)
        written = writers[format](saved.model, out, classes=saved.classes, preprocessing=saved.preprocessing)
    size = sum(path.stat().st_size for path in ([written] if written.is_file() else written.iterdir()))
    facts(
        f"{run} as {format.value}", {"written": str(written), "bytes": f"{size:,}", "classes": str(len(saved.classes))}
    )
