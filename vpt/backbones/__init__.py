"""Backbones by name: timm's and open_clip's, pretrained or from a file on this machine, and two inside the package."""

from __future__ import annotations

from vpt.backbones.checkpoint import load_checkpoint
from vpt.backbones.embedded import embedded
from vpt.backbones.embedded_clip import embedded_clip
from vpt.backbones.load import family_of, load_backbone, names
from vpt.backbones.tokenizers import Tokenizer, load_tokenizer

__all__ = [
    "Tokenizer",
    "embedded",
    "embedded_clip",
    "family_of",
    "load_backbone",
    "load_checkpoint",
    "load_tokenizer",
    "names",
]
