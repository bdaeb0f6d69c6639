"""VTAB-1K: its 19 tasks as facts - splits, labels, sizes - whichever way the images come."""

from vpt.data.vtab.agreement import deviations, require
from vpt.data.vtab.slices import Slice
from vpt.data.vtab.table import GROUPS, TASKS, get, resolve
from vpt.data.vtab.task import VtabTask

__all__ = ["GROUPS", "TASKS", "Slice", "VtabTask", "deviations", "get", "require", "resolve"]
