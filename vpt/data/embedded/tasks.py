"""The embedded tasks by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vpt.data.embedded.digits import digits
from vpt.data.embedded.shapes import SCENES, rendered
from vpt.data.task import Task

TASKS: dict[str, Callable[..., Task]] = {"digits": digits, **{scene: partial(rendered, scene) for scene in SCENES}}
"""Name -> `make(train=, val=, test=, split_seed=) -> Task`."""
