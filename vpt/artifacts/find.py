"""Where a saved task lies: in the folder that was named, or in that of the run which left it."""

from __future__ import annotations

from pathlib import Path

from vpt.artifacts.schema import is_artifact
from vpt.errors import OptionError

RUN, ARTIFACT = "config.yaml", "artifact"
"""In a run's folder: the file that makes it one, and the folder of the task that it leaves."""


def find_artifact(folder: Path) -> Path:
    """The saved task in `folder`: a run, one seed of a run, or an artefact itself. Raises `OptionError`."""
    for candidate in (folder, folder / ARTIFACT):
        if is_artifact(candidate):
            return candidate
    seeds = sorted(path.parent for path in folder.glob(f"seed-*/{ARTIFACT}"))
    if seeds:
        raise OptionError(f"{folder} holds several seeds; name one: {', '.join(str(path) for path in seeds)}")
    state = "has not finished: run its `vpt train` again" if (folder / RUN).exists() else "is not a run or an artefact"
    raise OptionError(f"{folder} {state}")
