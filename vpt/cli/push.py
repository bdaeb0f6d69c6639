"""`vpt push`: a saved task to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpt.runs.console import note


def push(
    run: Annotated[Path, typer.Argument(help="A run's folder, or an artefact's.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the hub; made where there is none.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository one that everyone reads.")] = False,
    branch: Annotated[str | None, typer.Option(help="By default main.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
) -> None:
    """Upload a saved task to the Hugging Face hub, and print the commit.

    \b
    vpt push runs/flowers-deep somebody/flowers
    vpt pull somebody/flowers --revision COMMIT --out flowers

    The token is that of HF_TOKEN, or of `hf auth login`.
    """
    from vpt.artifacts import find_artifact, hub

    commit = hub.push(find_artifact(run), repository, private=not public, branch=branch, message=message)
    note(f"vpt pull {repository} --revision {commit}")
    print(commit)
