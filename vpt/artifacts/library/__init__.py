"""A library of saved tasks: versions, approval, rollback, and a log of all of it, in a folder or an object store."""

from __future__ import annotations

from vpt.artifacts.library.compare import Difference, compare
from vpt.artifacts.library.entry import Entry
from vpt.artifacts.library.library import Library
from vpt.artifacts.library.state import TaskState, Version

__all__ = ["Difference", "Entry", "Library", "TaskState", "Version", "compare"]
