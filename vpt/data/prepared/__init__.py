"""Prepared tasks: all images of a task in one file with its labels, splits and digests beside it, read by a map."""

from vpt.data.prepared.manifest import has_traces, is_prepared, read_manifest
from vpt.data.prepared.prepare import prepare
from vpt.data.prepared.read import open_prepared, verify_prepared

__all__ = ["has_traces", "is_prepared", "open_prepared", "prepare", "read_manifest", "verify_prepared"]
