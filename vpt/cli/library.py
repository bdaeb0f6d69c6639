"""`vpt library add | approve | retire | rollback | gate | retrain`, which change a library; and what only looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.cli.library_options import (
    Backbone,
    Because,
    By,
    Checkpoint,
    ImageSize,
    Task,
    Tokenizer,
    Url,
    Why,
    library_at,
    newest_draft,
    standing,
)
from vpt.cli.library_reading import diff, list_versions, log, show, stale, verify
from vpt.errors import OptionError, TrainingError, VptError
from vpt.runs.console import note, notes

if TYPE_CHECKING:
    from vpt.artifacts.library import Library, Version
    from vpt.runs.config import DataConfig

library = typer.Typer(
    name="library", help="Keep versions of saved tasks: approve them, roll them back, know who did what, when and why."
)
for reading in (show, log, diff, verify, stale):
    library.command()(reading)
library.command("list")(list_versions)


@library.command()
def add(
    run: Annotated[Path, typer.Argument(help="A finished run's folder, or an artefact's.")],
    url: Url,
    task: Annotated[str, typer.Option(help="Its name in the library.")],
    why: Why = "",
    by: By = None,
) -> None:
    """Add a saved task as a draft, and begin the library where there is none.

    \b
    vpt library add runs/digits-deep --task digits --why "first" --library tasks/
    """
    from vpt.artifacts import find_artifact
    from vpt.artifacts.library.entry import now

    opened, begun = library_at(url), now()
    version = opened.add(find_artifact(run), task, why=why, by=by)
    if version.added < begun:
        note(f"note: the library has these very files already, as {version} ({version.state})")
    _tell(opened, version)


@library.command()
def approve(
    url: Url,
    task: Task,
    number: Annotated[int | None, typer.Argument(help="By default the newest draft.")] = None,
    why: Why = "",
    by: By = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever the gate finds; needs --why.")] = False,
    root: Annotated[Path | None, typer.Option(help="Where the gate's images lie now.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The version's backbone, where the artefact does not say.")
    ] = None,
    checkpoint: Checkpoint = None,
    tokenizer: Tokenizer = None,
) -> None:
    """Make a version current, once it passes the task's gate. The log keeps the figures."""
    from vpt.runs.gate import Where
    from vpt.runs.gate import approve as pass_gate

    opened = library_at(url)
    chosen = newest_draft(opened, task) if number is None else number
    where = Where(root, backbone, checkpoint, tokenizer)
    with notes():
        version = pass_gate(opened, task, chosen, why=why, by=by, force=force, where=where)
    if opened.gate(task) is None:
        note(f"note: nothing was checked: {task} has no gate (vpt library gate sets one)")
    _tell(opened, version)


@library.command()
def retire(url: Url, task: Task, number: Annotated[int, typer.Argument()], why: Because, by: By = None) -> None:
    """Withdraw a version. Where it is the current one, that approved before it is current then, or none."""
    opened = library_at(url)
    _tell(opened, opened.retire(task, number, why=why, by=by))


@library.command()
def rollback(url: Url, task: Task, why: Because, by: By = None) -> None:
    """Retire the current version: the one approved before it is current again."""
    opened = library_at(url)
    _tell(opened, opened.rollback(task, why=why, by=by))


@library.command()
def gate(
    url: Url,
    task: Task,
    require: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METRIC>=NUMBER]...", help="accuracy, mean_class_accuracy, macro_f1; in quotes."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="An embedded task, a source, or SOURCE:NAME (data.source, data.name).")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where the images lie (data.root).")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of data.options; several are fine.")] = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    not_worse: Annotated[
        float | None, typer.Option(help="By how much a metric may lie below the current version's, e.g. 0.01.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Check nothing any more.")] = False,
    why: Why = "",
    by: By = None,
) -> None:
    """Set what a version of a task must reach before it is approved.

    \b
    vpt library gate digits "accuracy>=0.8" "macro_f1>=0.75" --data digits
    vpt library gate flowers --not-worse 0.01 --data folder --root flowers-held-out
    """
    from vpt.runs.gate import requirements, set_gate

    opened = library_at(url)
    if remove:
        if require or data or not_worse is not None:
            raise OptionError("--remove takes no requirements and no data")
        opened.set_gate(task, None, why=why, by=by)
        print(f"{task}: no gate")
        return
    asked = requirements(require or [])
    if data is None:
        raise OptionError("--data is missing: which images is a version measured on?")
    with notes():
        found = set_gate(
            opened, task, _data(data, root, option or []), asked, split=split, not_worse=not_worse, why=why, by=by
        )
    print(f"{task}: gate set on {found.images:,} images")


@library.command()
def retrain(
    url: Url,
    backbone: Backbone,
    task: Annotated[str | None, typer.Argument(help="By default every task that is bound to another backbone.")] = None,
    checkpoint: Checkpoint = None,
    image_size: ImageSize = None,
    tokenizer: Tokenizer = None,
    out: Annotated[Path, typer.Option(help="Each run gets a folder TASK-NUMBER in here.")] = Path("retrained"),
    why: Why = "",
    by: By = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the results alone.")] = False,
) -> None:
    """Train tasks anew on another backbone, as they were trained before; each becomes a draft of its task.

    Of a task its current version is taken, or else the newest. Run again, it goes on where it was interrupted.
    """
    from vpt.runs.config import BackboneConfig
    from vpt.runs.retrain import retrain as train_anew
    from vpt.runs.retrain import stale_subjects, subject

    opened = library_at(url)
    config = BackboneConfig(backbone, checkpoint, image_size, tokenizer=tokenizer)
    chosen = list(stale_subjects(opened, config)) if task is None else [subject(opened, task)]
    if not chosen:
        print(f"no task is bound to another backbone than {backbone}")
    faults = []
    try:
        for version in chosen:
            try:
                with notes(quiet=quiet):
                    made = train_anew(opened, version, config, out, why=why, by=by, quiet=quiet)
                _tell(opened, made)
            except VptError as error:  # one that fails stops no other
                faults.append(f"{version}: {error}")
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from the last finished epoch")
        raise typer.Exit(130) from None
    if faults:
        raise TrainingError("\n".join([f"{len(faults)} of {len(chosen)} tasks failed:", *faults]))


def _data(data: str, root: Path | None, options: list[str]) -> DataConfig:
    """Which images, as `vpt train` would take them. Raises `OptionError` listing all that is wrong."""
    from vpt.cli.train import overrides
    from vpt.runs.reading import load_config

    given = [f"data.options.{option}" for option in options]
    return load_config(None, [*overrides({"data.root": root}, data=data), *given]).data


def _tell(library: Library, version: Version) -> None:
    print(f"{version}: {standing(library.state(version.task), version)}")
