"""`vpt evaluate`: a saved task measured on its test images, or on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.errors import OptionError, some
from vpt.runs.console import facts, note, notes

if TYPE_CHECKING:
    from vpt.data import ImageSet
    from vpt.runs.restore import Restored


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or an artefact's.")],
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    root: Annotated[Path | None, typer.Option(help="Where the images lie now (data.root).")] = None,
    backbone: Annotated[str | None, typer.Option(help="The backbone, where the artefact does not say.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, where they lie elsewhere now.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The folder of its tokenizer's files, likewise.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    out: Annotated[Path | None, typer.Option(help="Write report.json and report.png into this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Accept another backbone than the task's own.")] = False,
) -> None:
    """Measure a saved task on images: accuracy, mean accuracy per class, macro F1."""
    from vpt.data import ImageDataset
    from vpt.runs.restore import restore
    from vpt.training import evaluate as measure
    from vpt.training import write_report

    with notes(quiet=json):
        saved = restore(run, backbone=backbone, checkpoint=checkpoint, tokenizer=tokenizer, force=force)
        images = _images(saved, split, root)
        result = measure(saved.model, ImageDataset(images, saved.preprocessing), batch_size=batch_size)
    if out is not None:
        write_report(out, result, [], f"{saved.manifest.method}: {split}")
    if json:
        from json import dumps

        print(dumps({"run": str(run), "split": split, **result.to_dict()}, indent=1))
        return
    shown = {name: f"{getattr(result, name):.2%}" for name in ("accuracy", "mean_class_accuracy", "macro_f1")}
    facts(f"{run}: {split}", {**shown, "images": str(len(images))})


def _images(saved: Restored, split: str, root: Path | None) -> ImageSet:
    """The split of the task that the artefact was trained on; says so where these are other images than then."""
    from dataclasses import replace

    from vpt.errors import unknown
    from vpt.runs.prepare import prepare_task

    if not saved.manifest.part("data_config"):
        raise OptionError(f"{saved.folder} does not say which data it is for; use vpt.evaluate from Python")
    data = saved.config.data if root is None else replace(saved.config.data, root=root)
    task = prepare_task(data)
    sets = task.sets()
    if split not in sets:
        raise unknown("split", split, sets)
    if list(task.classes) != saved.classes:
        raise OptionError(f"the images have the classes {some(task.classes)}; the saved task has {some(saved.classes)}")
    recorded = saved.manifest.part("data").get("digests", {}).get(split)
    if recorded is not None and sets[split].digest() != recorded:
        note(f"note: these are not the {split} images of the run (their digest differs)")
    return sets[split]
