"""`vpt pull`: a saved task from one commit of a repository on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpt.runs.console import notes


def pull(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the hub.")],
    revision: Annotated[
        str | None, typer.Option(help="A commit, which pins what is had, a tag or a branch; by default main.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the files; by default they stay in the cache.")] = None,
) -> None:
    """Fetch a saved task from the Hugging Face hub, check it, and print its folder.

    \b
    vpt pull somebody/flowers --revision 0123456789abcdef0123456789abcdef01234567 --out flowers

    The token for private ones is that of HF_TOKEN, or of `hf auth login`.
    """
    from vpt.artifacts import hub

    with notes():
        print(hub.pull(repository, revision=revision, folder=out))
