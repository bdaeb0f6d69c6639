"""Tasks prepared once into a folder (`vpt data prepare`), whatever source they came from."""

from __future__ import annotations

from pathlib import Path

from vpt.data.prepared import is_prepared, open_prepared
from vpt.data.sources.places import needs_folder
from vpt.data.sources.registry import source
from vpt.data.task import Task
from vpt.errors import DataError, nearest


def _tasks(root: Path | None) -> list[str]:
    folders = needs_folder("prepared", root).iterdir()
    return sorted(path.name for path in folders if is_prepared(path) and not path.name.startswith("."))


@source("prepared", tasks=_tasks)
def load(root: Path | None, name: str | None) -> Task:
    """The task in `root/name`, or in `root` itself where no name is given. Its route is that of its first source."""
    root = needs_folder("prepared", root)
    folder = root if name is None else root / name
    if not is_prepared(folder):
        found = _tasks(root)
        raise DataError(
            f"{folder}: is no prepared task{nearest(str(name), found)}; found in {root}: {', '.join(found) or 'none'}"
        )
    return open_prepared(folder)
