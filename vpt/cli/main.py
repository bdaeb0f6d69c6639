"""The `vpt` command: what its subcommands are, one file of this package each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from vpt.cli.backbones import backbones
from vpt.cli.data import data
from vpt.cli.evaluate import evaluate
from vpt.cli.export import export
from vpt.cli.library import library
from vpt.cli.methods import methods
from vpt.cli.predict import predict
from vpt.cli.pull import pull
from vpt.cli.push import push
from vpt.cli.read import read
from vpt.cli.serve import serve
from vpt.cli.train import train
from vpt.errors import OptionError, VptError
from vpt.runs.console import note

app = typer.Typer(
    name="vpt",
    help="Visual prompt tuning: adapt a frozen vision transformer to a task with kilobytes of prompts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (train, evaluate, predict, read, serve, export, backbones, methods, push, pull):
    app.command()(command)
app.add_typer(data)
app.add_typer(library)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 1 when something could not be done, 2 when it was asked wrongly."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="vpt")
    except VptError as error:
        note(f"error: {error}")
        sys.exit(2 if isinstance(error, OptionError) else 1)


if __name__ == "__main__":
    main()
