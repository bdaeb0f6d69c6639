"""The files of a run folder, and whether the run is new, interrupted or finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vpt.artifacts.find import ARTIFACT, RUN
from vpt.artifacts.schema import is_artifact
from vpt.errors import ArtifactError, OptionError
from vpt.runs.config import RunConfig, differences, to_yaml
from vpt.runs.reading import load_config
from vpt.training.files import write_atomically

RESULT, SEARCH = "result.json", "search"


def is_main_process() -> bool:
    """Whether this process writes: always, but for the others of a torchrun."""
    return os.environ.get("RANK", "0") == "0"


def claim(config: RunConfig, folder: Path) -> None:
    """Write the full configuration into `folder`, or check that the run there has this very one.

    Raises `OptionError` naming each field that differs: a run is resumed as it was begun, or begun elsewhere.
    """
    path = folder / RUN
    if path.exists():
        if changed := differences(load_config(path), config):
            raise OptionError(
                f"{folder} holds a run with another configuration; give another out=, or delete it. Different are: "
                + ", ".join(changed)
            )
    elif is_main_process():
        write_atomically(path, to_yaml(config))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None where there is no file. Raises `ArtifactError` for a damaged one."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); delete it to have it made again") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds no JSON object; delete it to have it made again")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically, from the main process alone."""
    if is_main_process():
        write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run's, finished or not, or holds a saved task."""
    return (folder / RUN).is_file() or is_artifact(folder) or is_artifact(folder / ARTIFACT)
