"""Backbones by name: timm's, pretrained or from a file on this machine, and the one that ships inside the package."""

from __future__ import annotations

from vpt.backbones.checkpoint import load_checkpoint
from vpt.backbones.embedded import embedded
from vpt.backbones.load import load_backbone, names

__all__ = ["embedded", "load_backbone", "load_checkpoint", "names"]
