"""`vpt predict`: the five likeliest classes of pictures, as a table, CSV or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.cli.classnames import class_names
from vpt.errors import DataError, OptionError
from vpt.runs.console import note, notes, table

if TYPE_CHECKING:
    from vpt.cli.predictions import Prediction
    from vpt.runs.restore import Ready


class Format(StrEnum):
    """How predictions are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def predict(
    items: Annotated[
        list[Path],
        typer.Argument(metavar="[RUN] PICTURES...", help="A run's folder, or an artefact's, then files or folders."),
    ],
    task: Annotated[Path | None, typer.Option(help="The run, where it is not the first argument.")] = None,
    classnames: Annotated[
        list[str] | None,
        typer.Option(help="Classes for a CLIP: names with commas between, or a .txt or .json file."),
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help="Without a task: a sentence with {} for the name; several are averaged.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per picture.")] = 5,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="By default that of --out, else a table.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file (.csv, .json) instead of the terminal.")] = None,
    attention: Annotated[
        Path | None, typer.Option(help="Write a picture of where the class token looks, per input, here.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="The backbone, where no task says.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, where they lie elsewhere now.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="A folder with its Hugging Face tokenizer.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    force: Annotated[bool, typer.Option("--force", help="Accept another backbone than the task's own.")] = False,
) -> None:
    """Name what is on pictures, with probabilities.

    \b
    vpt predict runs/digits-deep PICTURES
    vpt predict PICTURES --backbone embedded-clip --classnames "cat, sea lion"
    vpt predict runs/digits-clip-coop PICTURES --classnames "cat, sea lion"

    The second needs no task; the third takes a learned context to other classes. Of a run with several seeds name one,
    runs/digits-deep/seed-0.
    """
    from vpt.cli.attention import check_maps, write_maps
    from vpt.cli.predictions import pictures, predictions

    chosen = settle(format, out)
    run, inputs = tell_apart(items, task, backbone=backbone is not None, classnames=classnames is not None)
    files = collect(inputs)
    with notes(quiet=chosen is not Format.table):
        ready = _ready(run, class_names(classnames), template, backbone, checkpoint, tokenizer, force=force)
        if attention is not None:
            check_maps(ready)
        dataset = pictures(ready, files)
        found = predictions(ready, dataset, top=top, batch_size=batch_size)
    _answer(found, chosen, out)
    if attention is not None:
        written = write_maps(ready, dataset, attention, batch_size=batch_size)
        note(f"{len(written)} attention maps in {attention}")


def tell_apart(
    items: Sequence[Path], task: Path | None, *, backbone: bool, classnames: bool
) -> tuple[Path | None, list[Path]]:
    """The task, if any, and the pictures: the first item is the task where no option is.

    backbone, classnames: whether these are given; both together do without a task, and then the first item may be a
    picture, too. Raises `OptionError` where one of them stands alone and there is no task, or no picture is left.
    """
    from vpt.runs.record import is_run

    no_task = task is None and not is_run(items[0])
    if no_task and backbone != classnames:
        given, missing = ("--backbone", "--classnames") if backbone else ("--classnames", "--backbone")
        raise OptionError(f"{items[0]} is no run, and {given} alone needs one; give {missing} too, to do without")
    first = task is None and not (no_task and classnames)
    run, pictures = (items[0], list(items[1:])) if first else (task, list(items))
    if not pictures:
        raise OptionError(
            f"{items[0]} is taken for the run, and no picture is given; without a run, give --backbone and --classnames"
        )
    return run, pictures


def _ready(
    run: Path | None, classnames: Sequence[str] | None, templates: Sequence[str] | None, backbone: str | None,
    checkpoint: Path | None, tokenizer: Path | None, *, force: bool,
) -> Ready:  # fmt: skip
    """The model of a task, or of class names alone."""
    from vpt.runs.restore import restore, zero_shot

    if run is None:
        return zero_shot(
            classnames or (), backbone=backbone or "", checkpoint=checkpoint, tokenizer=tokenizer, templates=templates
        )
    if templates is not None:
        raise OptionError(
            f"--template given; {run} has texts of its own, templates are for --backbone and --classnames"
        )
    return restore(
        run, backbone=backbone, checkpoint=checkpoint, tokenizer=tokenizer, force=force, classnames=classnames
    )


def settle(format: Format | None, out: Path | None) -> Format:
    """The format asked for, or that of the file's suffix. Raises `OptionError` where these contradict each other."""
    if out is None:
        return format or Format.table
    suffixes = {".csv": Format.csv, ".json": Format.json}
    told = suffixes.get(out.suffix.lower())
    if format is Format.table:
        raise OptionError(f"--format table with --out {out}; a file takes csv or json")
    if format is not None and told not in (None, format):
        raise OptionError(f"--format {format.value} contradicts the suffix of --out {out}")
    if (chosen := format or told) is None:
        raise OptionError(f"--out {out} tells no format; accepted: a name in {' or '.join(suffixes)}, or --format")
    return chosen


def collect(inputs: Sequence[Path]) -> list[Path]:
    """The pictures among files and, recursively, in folders; each once. Raises `DataError` listing what is missing."""
    from vpt.data.decode import SUFFIXES

    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}")
    found: dict[Path, None] = {}
    for path in inputs:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"no pictures in {path}; looked for {', '.join(SUFFIXES)}")
        found.update(dict.fromkeys(inside))
    return list(found)


def _answer(found: Sequence[Prediction], chosen: Format, out: Path | None) -> None:
    """The predictions on the terminal, or in the file `out`."""
    from vpt.training.files import write_atomically

    if chosen is Format.table:
        table(["picture", *(f"{i + 1}." for i in range(len(found[0].classes)))], [_row(p) for p in found])
        return
    text = as_csv(found) if chosen is Format.csv else as_json(found)
    write = sys.stdout.write if out is None else partial(write_atomically, out)
    write(text)


def _row(prediction: Prediction) -> list[str]:
    return [str(prediction.file), *(f"{name} {p:.1%}" for name, p in prediction.classes)]


def as_csv(found: Sequence[Prediction]) -> str:
    """One row per picture and rank: path, rank, class, probability."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "probability"])
    for prediction in found:
        writer.writerows([prediction.file, i, name, f"{p:.6f}"] for i, (name, p) in enumerate(prediction.classes, 1))
    return buffer.getvalue()


def as_json(found: Sequence[Prediction]) -> str:
    """A list of `{"path", "classes": [{"class", "probability"}]}`."""
    from json import dumps

    rows = [
        {"path": str(p.file), "classes": [{"class": name, "probability": value} for name, value in p.classes]}
        for p in found
    ]
    return dumps(rows, indent=1, ensure_ascii=False) + "\n"
