"""What the subcommands of `vpt library` share: their options, and which version is meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.errors import OptionError

if TYPE_CHECKING:
    from vpt.artifacts.library import Library, TaskState, Version

Url = Annotated[
    str, typer.Option("--library", envvar="VPT_LIBRARY", help="A folder, or a URL such as s3://bucket/tasks.")
]
Task = Annotated[str, typer.Argument(help="A task of the library.")]
Number = Annotated[int | None, typer.Argument(help="Its version.")]
Why = Annotated[str, typer.Option(help="Goes into the log.")]
Because = Annotated[str, typer.Option("--why", help="Goes into the log.")]
By = Annotated[str | None, typer.Option(help="Who, for the log; by default USER@HOST.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Backbone = Annotated[str, typer.Option(help="embedded, embedded-clip, or a name of `vpt backbones`.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Its weights, from a file.")]
ImageSize = Annotated[int | None, typer.Option(min=1, help="Its image size in pixels, where it is not its own.")]
Tokenizer = Annotated[Path | None, typer.Option(help="A folder with its Hugging Face tokenizer.")]


def library_at(url: str) -> Library:
    """The library at `url`."""
    from vpt.artifacts.library import Library

    return Library(url)


def newest_draft(library: Library, task: str) -> int:
    """Raises `OptionError` where a task has no draft."""
    drafts = [version.number for version in library.versions(task) if version.state == "draft"]
    if not drafts:
        raise OptionError(f"{task} has no draft; name the version to approve")
    return drafts[-1]


def shown(state: TaskState, task: str, number: int | None) -> Version:
    """The version named, or else the current one, or else the newest."""
    return state.version(task, number) if number is not None else state.current or state.versions[-1]


def standing(state: TaskState, version: Version) -> str:
    """The state of a version of a task in a word, "current" where it is the one that is served."""
    return "current" if version.number == state.current_number else version.state
