"""A task as a folder of kilobytes: its configuration, one file of prompts and head, and a card for people."""

from __future__ import annotations

from vpt.artifacts.find import find_artifact
from vpt.artifacts.hub import pull, push
from vpt.artifacts.load import load
from vpt.artifacts.save import save
from vpt.artifacts.schema import Manifest, is_artifact, read

__all__ = ["Manifest", "find_artifact", "is_artifact", "load", "pull", "push", "read", "save"]
