"""Where tasks come from. A new source is one file here: a function decorated with `@source("its-name")`."""

from vpt.data.sources.registry import faults, load_task, names, source, tasks_of

__all__ = ["faults", "load_task", "names", "source", "tasks_of"]
